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
CREATE TABLE public.audioctl_migrations (
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP NOT NULL
);
INSERT INTO public.audioctl_migrations (name, applied_at) VALUES ('0001_uuid_generate_v4', '2026-11-22 18:20:12.24099+00');
ALTER TABLE ONLY public.audioctl_migrations
    ADD CONSTRAINT audioctl_migrations_pkey PRIMARY KEY (name);
