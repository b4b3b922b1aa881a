SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE EXTENSION IF NOT EXISTS "uuid-ossp" WITH SCHEMA public;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.audio_files (
    id uuid DEFAULT public.uuid_generate_v4() NOT NULL,
    filename character varying(255) NOT NULL,
    file_path character varying(500),
    file_size_bytes bigint,
    month integer NOT NULL,
    date integer NOT NULL,
    year integer NOT NULL,
    location character varying(100),
    classification character varying(100),
    classification_probability numeric(3,2),
    created_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE public.audioctl_migrations (
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL
);
CREATE TABLE public.processing_queue (
    id uuid NOT NULL,
    year integer NOT NULL,
    month integer NOT NULL,
    date integer NOT NULL,
    location character varying(100),
    status character varying(50) DEFAULT 'pending'::character varying,
    transfer_start timestamp without time zone,
    transfer_end timestamp without time zone,
    transfer_task_id character varying(255),
    processing_start timestamp without time zone,
    processing_end timestamp without time zone,
    slurm_job_id integer,
    error_message text,
    created_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE public.transcripts (
    id uuid DEFAULT public.uuid_generate_v4() NOT NULL,
    audio_file_id uuid NOT NULL,
    transcript_text text NOT NULL,
    word_count integer,
    duration_seconds numeric(10,2),
    created_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP
);
INSERT INTO public.audio_files (id, filename, file_path, file_size_bytes, month, date, year, location, classification, classification_probability, created_at, updated_at) VALUES ('4e2ec8cd-8be8-48a7-b380-71b70df9a978', 'old.mp3', '/archive/old.mp3', NULL, 1, 25, 2025, 'Bern', NULL, 0.75, '2026-11-22 18:20:11.397231', '2026-11-22 18:20:11.397231');
INSERT INTO public.audio_files (id, filename, file_path, file_size_bytes, month, date, year, location, classification, classification_probability, created_at, updated_at) VALUES ('48baa7bc-f504-4b36-9ff6-465a9c248c14', 'a.mp3', NULL, NULL, 12, 31, 2024, 'Bern', NULL, NULL, '2026-11-22 18:20:11.397231', '2026-11-22 18:20:11.397231');
INSERT INTO public.audioctl_migrations (name, applied_at) VALUES ('0001_uuid_generate_v4', '2026-11-22 18:20:11.402162+00');
INSERT INTO public.audioctl_migrations (name, applied_at) VALUES ('0002_three_tables', '2026-11-22 18:20:11.403836+00');
INSERT INTO public.processing_queue (id, year, month, date, location, status, transfer_start, transfer_end, transfer_task_id, processing_start, processing_end, slurm_job_id, error_message, created_at, updated_at) VALUES ('a63dc062-d68e-471f-babc-e50999c00252', 2024, 12, 31, 'Bern', 'completed', NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-11-22 18:20:11.397231', '2026-11-22 18:20:11.397231');
INSERT INTO public.transcripts (id, audio_file_id, transcript_text, word_count, duration_seconds, created_at) VALUES ('26c8d069-2957-4fc2-bba8-780f75e341ca', '4e2ec8cd-8be8-48a7-b380-71b70df9a978', 'words of old.mp3', 3, NULL, '2026-11-22 18:20:11.397231');
INSERT INTO public.transcripts (id, audio_file_id, transcript_text, word_count, duration_seconds, created_at) VALUES ('bbd72e9d-ab57-423e-8624-ed9d695f2bbe', '48baa7bc-f504-4b36-9ff6-465a9c248c14', 'words of a.mp3', 3, NULL, '2026-11-22 18:20:11.397231');
ALTER TABLE ONLY public.audio_files
    ADD CONSTRAINT audio_files_filename_key UNIQUE (filename);
ALTER TABLE ONLY public.audio_files
    ADD CONSTRAINT audio_files_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.audioctl_migrations
    ADD CONSTRAINT audioctl_migrations_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.processing_queue
    ADD CONSTRAINT processing_queue_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.processing_queue
    ADD CONSTRAINT processing_queue_year_month_date_key UNIQUE (year, month, date);
ALTER TABLE ONLY public.transcripts
    ADD CONSTRAINT transcripts_audio_file_id_key UNIQUE (audio_file_id);
ALTER TABLE ONLY public.transcripts
    ADD CONSTRAINT transcripts_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.transcripts
    ADD CONSTRAINT transcripts_audio_file_id_fkey FOREIGN KEY (audio_file_id) REFERENCES public.audio_files(id) ON DELETE CASCADE;
