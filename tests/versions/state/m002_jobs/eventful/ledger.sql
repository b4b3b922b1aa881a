BEGIN TRANSACTION;
CREATE TABLE archives (
            day TEXT NOT NULL, slot TEXT NOT NULL, path TEXT NOT NULL, state TEXT NOT NULL, reason TEXT, error TEXT,
            attempt INTEGER NOT NULL, run_id TEXT, job_id TEXT, node TEXT,
            batches_seen INTEGER NOT NULL, batches_done INTEGER NOT NULL, batches_failed INTEGER NOT NULL,
            clips INTEGER NOT NULL, stored INTEGER NOT NULL, rejected INTEGER NOT NULL, skipped INTEGER NOT NULL,
            audio_seconds REAL NOT NULL, owed_record INTEGER NOT NULL, owed_upload INTEGER NOT NULL,
            started_at TEXT, finished_at TEXT,
            journal_offset INTEGER NOT NULL, batch_error TEXT,
            attempt_started TEXT, attempt_ended TEXT, archive_read TEXT, question TEXT, is_answered INTEGER NOT NULL DEFAULT 0, is_restless INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (day, slot)
        ) WITHOUT ROWID;
INSERT INTO "archives" VALUES('2025-01-25','00_00','/staging/0_2025-01-25_12_30.tar.xz','done',NULL,NULL,1,NULL,NULL,'gpu1',3,3,0,6,3,3,3,7.5,0,0,'2025-01-25T12:40:00Z','2025-01-25T12:40:00Z',4760,NULL,'{"event":"attempt_started","at":"2025-01-25T12:40:00Z","attempt":1,"run_id":null,"job_id":null,"node":"gpu1","version":"0.1.0","archive":{"path":"/staging/0_2025-01-25_12_30.tar.xz","size_bytes":1000,"mtime_ns":7},"batch_size":3,"model":"bundled","stages":["extract","transcribe","upload"],"after_crash":null}','{"event":"attempt_ended","at":"2025-01-25T12:40:00Z","attempt":1,"outcome":"done","damage":null,"error":null,"exit_code":null}','{"event":"archive_read","at":"2025-01-25T12:40:00Z","attempt":null,"batches":3,"members":9,"damage":null,"detail":null}',NULL,0,0);
INSERT INTO "archives" VALUES('2025-01-25','00_10','/staging/0_2025-01-25_12_30.tar.xz','done',NULL,NULL,1,NULL,NULL,'gpu1',1,1,0,2,1,1,1,2.5,0,0,'2025-01-25T12:40:00Z','2025-01-25T12:40:00Z',2233,NULL,'{"event":"attempt_started","at":"2025-01-25T12:40:00Z","attempt":1,"run_id":null,"job_id":null,"node":"gpu1","version":"0.1.0","archive":{"path":"/staging/0_2025-01-25_12_30.tar.xz","size_bytes":1000,"mtime_ns":7},"batch_size":3,"model":"bundled","stages":["extract","transcribe","record","upload","confirm"],"after_crash":null}','{"event":"attempt_ended","at":"2025-01-25T12:40:00Z","attempt":1,"outcome":"done","damage":null,"error":null,"exit_code":null}','{"event":"archive_read","at":"2025-01-25T12:40:00Z","attempt":null,"batches":1,"members":3,"damage":null,"detail":null}',NULL,0,0);
INSERT INTO "archives" VALUES('2025-01-25','00_20','/staging/0_2025-01-25_12_30.tar.xz','damaged','cut_off','It is cut.',1,NULL,NULL,'gpu1',1,1,0,2,1,1,1,2.5,0,0,'2025-01-25T12:40:00Z','2025-01-25T12:40:00Z',1971,NULL,'{"event":"attempt_started","at":"2025-01-25T12:40:00Z","attempt":1,"run_id":null,"job_id":null,"node":"gpu1","version":"0.1.0","archive":{"path":"/staging/0_2025-01-25_12_30.tar.xz","size_bytes":1000,"mtime_ns":7},"batch_size":3,"model":"bundled","stages":["extract","transcribe","upload"],"after_crash":null}','{"event":"attempt_ended","at":"2025-01-25T12:40:00Z","attempt":1,"outcome":"done","damage":null,"error":null,"exit_code":null}','{"event":"archive_read","at":"2025-01-25T12:40:00Z","attempt":null,"batches":1,"members":3,"damage":"cut_off","detail":"It is cut."}',NULL,0,0);
INSERT INTO "archives" VALUES('2025-01-25','00_30','/staging/0_2025-01-25_12_30.tar.xz','failed','failed','No model.',1,NULL,NULL,'gpu1',0,0,0,0,0,0,0,0.0,0,0,'2025-01-25T12:40:00Z','2025-01-25T12:40:00Z',446,NULL,'{"event":"attempt_started","at":"2025-01-25T12:40:00Z","attempt":1,"run_id":null,"job_id":null,"node":"gpu1","version":"0.1.0","archive":{"path":"/staging/0_2025-01-25_12_30.tar.xz","size_bytes":1000,"mtime_ns":7},"batch_size":3,"model":"bundled","stages":["extract","transcribe","upload"],"after_crash":null}','{"event":"attempt_ended","at":"2025-01-25T12:40:00Z","attempt":1,"outcome":"failed","damage":null,"error":"No model.","exit_code":null}',NULL,NULL,0,0);
INSERT INTO "archives" VALUES('2025-01-25','00_40','/staging/0_2025-01-25_12_30.tar.xz','failed','owed','connection refused',1,NULL,NULL,'gpu1',1,0,1,2,1,1,1,2.5,1,1,'2025-01-25T12:40:00Z','2025-01-25T12:40:00Z',1994,'connection refused','{"event":"attempt_started","at":"2025-01-25T12:40:00Z","attempt":1,"run_id":null,"job_id":null,"node":"gpu1","version":"0.1.0","archive":{"path":"/staging/0_2025-01-25_12_30.tar.xz","size_bytes":1000,"mtime_ns":7},"batch_size":3,"model":"bundled","stages":["extract","transcribe","record","upload","confirm"],"after_crash":null}','{"event":"attempt_ended","at":"2025-01-25T12:40:00Z","attempt":1,"outcome":"owed","damage":null,"error":null,"exit_code":null}','{"event":"archive_read","at":"2025-01-25T12:40:00Z","attempt":null,"batches":1,"members":3,"damage":null,"detail":null}',NULL,0,0);
INSERT INTO "archives" VALUES('2025-01-25','00_50','/staging/0_2025-01-25_12_30.tar.xz','failed','lost',NULL,2,NULL,NULL,'gpu1',2,0,0,4,2,2,2,5.0,0,2,'2025-01-25T12:40:00Z',NULL,3302,NULL,'{"event":"attempt_started","at":"2025-01-25T12:40:00Z","attempt":2,"run_id":null,"job_id":null,"node":"gpu1","version":"0.1.0","archive":{"path":"/staging/0_2025-01-25_12_30.tar.xz","size_bytes":1000,"mtime_ns":7},"batch_size":3,"model":"bundled","stages":["extract","transcribe","upload"],"after_crash":null}',NULL,NULL,NULL,0,1);
INSERT INTO "archives" VALUES('2025-01-25','01_00','/staging/0_2025-01-25_12_30.tar.xz','done',NULL,NULL,2,NULL,NULL,'gpu1',2,2,0,4,2,2,2,5.0,0,0,'2025-01-25T12:40:00Z','2025-01-25T12:40:00Z',6841,NULL,'{"event":"attempt_started","at":"2025-01-25T12:40:00Z","attempt":2,"run_id":null,"job_id":null,"node":"gpu1","version":"0.1.0","archive":{"path":"/staging/0_2025-01-25_12_30.tar.xz","size_bytes":900,"mtime_ns":7},"batch_size":3,"model":"bundled","stages":["extract","transcribe","upload"],"after_crash":null}','{"event":"attempt_ended","at":"2025-01-25T12:40:00Z","attempt":2,"outcome":"done","damage":null,"error":null,"exit_code":null}','{"event":"archive_read","at":"2025-01-25T12:40:00Z","attempt":null,"batches":2,"members":6,"damage":null,"detail":null}',NULL,0,0);
INSERT INTO "archives" VALUES('2025-01-25','01_10','/staging/0_2025-01-25_12_30.tar.xz','running',NULL,NULL,1,'20250125T123000Z-0001','20250125T123000Z-0001_0','gpu1',1,0,0,2,1,1,1,2.5,0,1,'2025-01-25T12:40:00Z',NULL,1564,NULL,'{"event":"attempt_started","at":"2025-01-25T12:40:00Z","attempt":1,"run_id":"20250125T123000Z-0001","job_id":"20250125T123000Z-0001_0","node":"gpu1","version":"0.1.0","archive":{"path":"/staging/0_2025-01-25_12_30.tar.xz","size_bytes":1000,"mtime_ns":7},"batch_size":3,"model":"bundled","stages":["extract","transcribe","upload"],"after_crash":null}',NULL,NULL,NULL,0,1);
INSERT INTO "archives" VALUES('2025-01-25','01_20','/staging/01_20.tar','submitted',NULL,NULL,0,'20250125T123000Z-0001','20250125T123000Z-0001_1',NULL,0,0,0,0,0,0,0,0.0,0,0,NULL,NULL,0,NULL,NULL,NULL,NULL,'20250125T123000Z-0001 not_begun 0',0,1);
INSERT INTO "archives" VALUES('2025-01-25','01_30','/staging/01_30.tar','failed','lost','The supervisor of its job went away before it began to work on the archive; `audioctl logs 2025-01-25 01_30` tells more.',0,'20250125T123000Z-0002','20250125T123000Z-0002_0',NULL,0,0,0,0,0,0,0,0.0,0,0,NULL,NULL,0,NULL,NULL,NULL,NULL,'20250125T123000Z-0002 not_begun 0',1,0);
INSERT INTO "archives" VALUES('2025-01-25','01_40','/staging/01_40.tar','cancelled',NULL,NULL,0,'20250125T123000Z-0003','20250125T123000Z-0003_0',NULL,0,0,0,0,0,0,0,0.0,0,0,NULL,NULL,0,NULL,NULL,NULL,NULL,'20250125T123000Z-0003 not_begun 0',1,0);
INSERT INTO "archives" VALUES('2025-01-25','01_50','/staging/0_2025-01-25_12_30.tar.xz','failed','owed','file missing',1,NULL,NULL,'gpu1',2,1,1,4,2,2,2,5.0,0,1,'2025-01-25T12:40:00Z','2025-01-25T12:40:00Z',3448,'file missing','{"event":"attempt_started","at":"2025-01-25T12:40:00Z","attempt":1,"run_id":null,"job_id":null,"node":"gpu1","version":"0.1.0","archive":{"path":"/staging/0_2025-01-25_12_30.tar.xz","size_bytes":1000,"mtime_ns":7},"batch_size":3,"model":"bundled","stages":["extract","transcribe","upload"],"after_crash":null}','{"event":"attempt_ended","at":"2025-01-25T12:40:00Z","attempt":1,"outcome":"owed","damage":null,"error":null,"exit_code":null}','{"event":"archive_read","at":"2025-01-25T12:40:00Z","attempt":null,"batches":2,"members":6,"damage":null,"detail":null}',NULL,0,0);
CREATE TABLE batches (
            day TEXT NOT NULL, slot TEXT NOT NULL, batch INTEGER NOT NULL,
            first_ordinal INTEGER NOT NULL, members INTEGER NOT NULL, digest TEXT NOT NULL,
            stored INTEGER NOT NULL, rejected INTEGER NOT NULL, skipped INTEGER NOT NULL, audio_seconds REAL NOT NULL,
            extract TEXT NOT NULL, transcribe TEXT NOT NULL, record TEXT NOT NULL, upload TEXT NOT NULL,
            confirm TEXT NOT NULL, updated_at TEXT, error TEXT,
            PRIMARY KEY (day, slot, batch)
        ) WITHOUT ROWID;
INSERT INTO "batches" VALUES('2025-01-25','00_00',0,0,3,'a',1,1,1,2.5,'done','done','pending','done','pending','2025-01-25T12:40:00Z',NULL);
INSERT INTO "batches" VALUES('2025-01-25','00_00',1,3,3,'a',1,1,1,2.5,'done','done','pending','done','pending','2025-01-25T12:40:00Z',NULL);
INSERT INTO "batches" VALUES('2025-01-25','00_00',2,6,3,'a',1,1,1,2.5,'done','done','pending','done','pending','2025-01-25T12:40:00Z',NULL);
INSERT INTO "batches" VALUES('2025-01-25','00_10',0,0,3,'a',1,1,1,2.5,'done','done','done','done','done','2025-01-25T12:40:00Z',NULL);
INSERT INTO "batches" VALUES('2025-01-25','00_20',0,0,3,'a',1,1,1,2.5,'done','done','pending','done','pending','2025-01-25T12:40:00Z',NULL);
INSERT INTO "batches" VALUES('2025-01-25','00_40',0,0,3,'a',1,1,1,2.5,'done','done','done','failed','pending','2025-01-25T12:40:00Z','connection refused');
INSERT INTO "batches" VALUES('2025-01-25','00_50',0,0,3,'a',1,1,1,2.5,'done','done','pending','pending','pending','2025-01-25T12:40:00Z',NULL);
INSERT INTO "batches" VALUES('2025-01-25','00_50',1,3,3,'a',1,1,1,2.5,'done','done','pending','pending','pending','2025-01-25T12:40:00Z',NULL);
INSERT INTO "batches" VALUES('2025-01-25','01_00',0,0,3,'a',1,1,1,2.5,'done','done','pending','done','pending','2025-01-25T12:40:00Z',NULL);
INSERT INTO "batches" VALUES('2025-01-25','01_00',1,3,3,'b',1,1,1,2.5,'done','done','pending','done','pending','2025-01-25T12:40:00Z',NULL);
INSERT INTO "batches" VALUES('2025-01-25','01_10',0,0,3,'a',1,1,1,2.5,'done','done','pending','pending','pending','2025-01-25T12:40:00Z',NULL);
INSERT INTO "batches" VALUES('2025-01-25','01_50',0,0,3,'a',1,1,1,2.5,'done','done','pending','done','pending','2025-01-25T12:40:00Z',NULL);
INSERT INTO "batches" VALUES('2025-01-25','01_50',1,3,3,'a',1,1,1,2.5,'done','done','pending','failed','pending','2025-01-25T12:40:00Z','file missing');
CREATE TABLE days (
            day TEXT NOT NULL PRIMARY KEY, journals_mtime_ns INTEGER NOT NULL, runs_mtime_ns INTEGER NOT NULL
        ) WITHOUT ROWID;
INSERT INTO "days" VALUES('2025-01-25',1737800000000000000,1737800000000000000);
CREATE TABLE migrations (name TEXT PRIMARY KEY, applied_at TEXT DEFAULT CURRENT_TIMESTAMP);
INSERT INTO "migrations" VALUES('m001_initial','2026-11-22 20:14:43');
INSERT INTO "migrations" VALUES('m002_jobs','2026-11-22 20:14:43');
CREATE TABLE rejections (
            day TEXT NOT NULL, slot TEXT NOT NULL, ordinal INTEGER NOT NULL, batch INTEGER NOT NULL,
            member TEXT NOT NULL, stage TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT,
            PRIMARY KEY (day, slot, ordinal)
        ) WITHOUT ROWID;
INSERT INTO "rejections" VALUES('2025-01-25','00_00',1,0,'1.mp3','transcribe','undecodable','no audio in it');
INSERT INTO "rejections" VALUES('2025-01-25','00_00',4,1,'4.mp3','transcribe','undecodable','no audio in it');
INSERT INTO "rejections" VALUES('2025-01-25','00_00',7,2,'7.mp3','transcribe','undecodable','no audio in it');
INSERT INTO "rejections" VALUES('2025-01-25','00_10',1,0,'1.mp3','transcribe','undecodable','no audio in it');
INSERT INTO "rejections" VALUES('2025-01-25','00_20',1,0,'1.mp3','transcribe','undecodable','no audio in it');
INSERT INTO "rejections" VALUES('2025-01-25','00_40',1,0,'1.mp3','transcribe','undecodable','no audio in it');
INSERT INTO "rejections" VALUES('2025-01-25','00_50',1,0,'1.mp3','transcribe','undecodable','no audio in it');
INSERT INTO "rejections" VALUES('2025-01-25','00_50',4,1,'4.mp3','transcribe','undecodable','no audio in it');
INSERT INTO "rejections" VALUES('2025-01-25','01_00',1,0,'1.mp3','transcribe','undecodable','no audio in it');
INSERT INTO "rejections" VALUES('2025-01-25','01_00',4,1,'4.mp3','transcribe','undecodable','no audio in it');
INSERT INTO "rejections" VALUES('2025-01-25','01_10',1,0,'1.mp3','transcribe','undecodable','no audio in it');
INSERT INTO "rejections" VALUES('2025-01-25','01_50',1,0,'1.mp3','transcribe','undecodable','no audio in it');
INSERT INTO "rejections" VALUES('2025-01-25','01_50',4,1,'4.mp3','transcribe','undecodable','no audio in it');
CREATE INDEX archives_by_state ON archives (state, reason, day);
CREATE INDEX archives_summary ON archives (
            day, state, started_at, finished_at,
            clips, stored, rejected, skipped, audio_seconds, owed_record, owed_upload
        );
CREATE INDEX archives_restless ON archives (day) WHERE is_restless = 1;
COMMIT;
