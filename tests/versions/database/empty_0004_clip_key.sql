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
    updated_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP,
    slot text,
    member text,
    ordinal integer,
    sha256 text
);
CREATE TABLE public.audioctl_migrations (
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL
);
CREATE TABLE public.processing_queue (
    id uuid DEFAULT public.uuid_generate_v4() NOT NULL,
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
    created_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP,
    language text,
    language_probability double precision,
    segments jsonb,
    flags text[],
    model text
);
INSERT INTO public.audio_files (id, filename, file_path, file_size_bytes, month, date, year, location, classification, classification_probability, created_at, updated_at, slot, member, ordinal, sha256) VALUES ('9b36036e-0e9b-4a80-b54f-7502b64be010', 'b.mp3', NULL, NULL, 1, 25, 2025, NULL, NULL, NULL, '2026-11-22 18:20:12.897729', '2026-11-22 18:20:12.897729', '12_30', 'radio/b.mp3', 1, NULL);
INSERT INTO public.audio_files (id, filename, file_path, file_size_bytes, month, date, year, location, classification, classification_probability, created_at, updated_at, slot, member, ordinal, sha256) VALUES ('87cfc6bc-827d-43e4-b228-7aa6938fbc03', 'a.mp3', 'storage:/radio/a.opus', 9, 1, 25, 2025, NULL, NULL, NULL, '2026-11-22 18:20:12.897729', '2026-11-22 18:20:12.899452', '12_30', 'radio/a.mp3', 0, '0000000000000000000000000000000000000000000000000000000000000000');
INSERT INTO public.audioctl_migrations (name, applied_at) VALUES ('0001_uuid_generate_v4', '2026-11-22 18:20:12.888701+00');
INSERT INTO public.audioctl_migrations (name, applied_at) VALUES ('0002_three_tables', '2026-11-22 18:20:12.892693+00');
INSERT INTO public.audioctl_migrations (name, applied_at) VALUES ('0003_clip_columns', '2026-11-22 18:20:12.896108+00');
INSERT INTO public.audioctl_migrations (name, applied_at) VALUES ('0004_clip_key', '2026-11-22 18:20:12.896667+00');
INSERT INTO public.processing_queue (id, year, month, date, location, status, transfer_start, transfer_end, transfer_task_id, processing_start, processing_end, slurm_job_id, error_message, created_at, updated_at) VALUES ('aa3e0aa2-e8c2-48b2-b729-509c8f259e66', 2025, 1, 25, NULL, 'completed', NULL, NULL, NULL, '2026-11-22 18:20:12.899731', '2026-11-22 18:20:12.899731', NULL, NULL, '2026-11-22 18:20:12.899731', '2026-11-22 18:20:12.899731');
INSERT INTO public.transcripts (id, audio_file_id, transcript_text, word_count, duration_seconds, created_at, language, language_probability, segments, flags, model) VALUES ('b4f32165-a208-432f-9c43-eeb9efa186b2', '87cfc6bc-827d-43e4-b228-7aa6938fbc03', 'good morning', 2, 2.50, '2026-11-22 18:20:12.897729', 'en', 0.9, '[{"end": 2.5, "text": "good morning", "start": 0.0, "avg_logprob": -0.1, "temperature": 0.0, "no_speech_prob": 0.0, "compression_ratio": 1.0}]', '{}', 'bundled');
INSERT INTO public.transcripts (id, audio_file_id, transcript_text, word_count, duration_seconds, created_at, language, language_probability, segments, flags, model) VALUES ('c7477843-ea90-4329-ba23-c3f8cae4d107', '9b36036e-0e9b-4a80-b54f-7502b64be010', '', 0, NULL, '2026-11-22 18:20:12.897729', NULL, NULL, '[]', '{no_speech}', 'bundled');
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
CREATE UNIQUE INDEX audio_files_clip_key ON public.audio_files USING btree (year, month, date, slot, member);
ALTER TABLE ONLY public.transcripts
    ADD CONSTRAINT transcripts_audio_file_id_fkey FOREIGN KEY (audio_file_id) REFERENCES public.audio_files(id) ON DELETE CASCADE;
