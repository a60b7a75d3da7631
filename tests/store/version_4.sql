-- A database as version 0.2 of the package left it: schema version 4, before jobs were seen by all. Of SQLite; what
-- PostgreSQL calls otherwise is replaced by the test.
CREATE TABLE schema_version (version INTEGER NOT NULL);
CREATE TABLE sessions (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, project VARCHAR(64) NOT NULL, task VARCHAR(64) NOT NULL,
    media VARCHAR(64) NOT NULL, frames INTEGER NOT NULL, height INTEGER NOT NULL, width INTEGER NOT NULL,
    weights VARCHAR(200) NOT NULL, updated_at DOUBLE PRECISION NOT NULL, owner VARCHAR(200) NOT NULL,
    owned_until DOUBLE PRECISION NOT NULL, revision INTEGER NOT NULL, UNIQUE (project, task, media)
);
CREATE TABLE session_objects (
    session INTEGER NOT NULL, object INTEGER NOT NULL, label TEXT NOT NULL, PRIMARY KEY (session, object),
    FOREIGN KEY(session) REFERENCES sessions (id) ON DELETE CASCADE
);
CREATE TABLE session_prompts (
    session INTEGER NOT NULL, object INTEGER NOT NULL, frame INTEGER NOT NULL, points TEXT NOT NULL, box TEXT, mask BLOB,
    hint BLOB, keyframe BLOB NOT NULL, quality DOUBLE PRECISION NOT NULL, is_end BOOLEAN NOT NULL,
    PRIMARY KEY (session, object, frame), FOREIGN KEY(session) REFERENCES sessions (id) ON DELETE CASCADE
);
CREATE TABLE session_changes (
    session INTEGER NOT NULL, object INTEGER NOT NULL, frame INTEGER NOT NULL, PRIMARY KEY (session, object, frame),
    FOREIGN KEY(session) REFERENCES sessions (id) ON DELETE CASCADE
);
CREATE TABLE session_masks (
    session INTEGER NOT NULL, frame INTEGER NOT NULL, object INTEGER NOT NULL, counts BLOB NOT NULL,
    quality DOUBLE PRECISION NOT NULL, source VARCHAR(16) NOT NULL, PRIMARY KEY (session, frame, object),
    FOREIGN KEY(session) REFERENCES sessions (id) ON DELETE CASCADE
);
CREATE TABLE task_memories (
    project VARCHAR(64) NOT NULL, task VARCHAR(64) NOT NULL, content TEXT NOT NULL, used_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (project, task)
);
CREATE TABLE shown_media (
    project VARCHAR(64) NOT NULL, task VARCHAR(64) NOT NULL, media VARCHAR(64) NOT NULL, number INTEGER,
    value TEXT NOT NULL, used_at DOUBLE PRECISION NOT NULL, PRIMARY KEY (project, task, media)
);
CREATE TABLE unsaved_answers (
    project VARCHAR(64) NOT NULL, task VARCHAR(64) NOT NULL, annotator VARCHAR(32) NOT NULL,
    region VARCHAR(128) NOT NULL, place INTEGER NOT NULL, results TEXT NOT NULL, answered_at DOUBLE PRECISION NOT NULL,
    draft_stamp TEXT NOT NULL, draft_at TEXT NOT NULL, PRIMARY KEY (project, task, annotator, region)
);
CREATE TABLE jobs (
    id VARCHAR(32) NOT NULL, intent TEXT NOT NULL, prediction TEXT, frames_total INTEGER NOT NULL,
    created_at FLOAT NOT NULL, project VARCHAR(64) NOT NULL, task VARCHAR(64) NOT NULL, whose VARCHAR(200) NOT NULL,
    waited_for BOOLEAN NOT NULL, owner VARCHAR(200) NOT NULL, owned_until DOUBLE PRECISION NOT NULL, PRIMARY KEY (id)
);
INSERT INTO schema_version VALUES (4);
INSERT INTO sessions (project, task, media, frames, height, width, weights, updated_at, owner, owned_until, revision)
    VALUES ('7', '12', 'abc@3', 10, 2, 3, 'compact', 1795000000.5, '', 0, 4);
INSERT INTO session_objects VALUES (1, 1, 'Rabbit');
INSERT INTO session_prompts VALUES (1, 1, 0, '[[1.0, 1.0, true]]', NULL, NULL, NULL, X'3036', 0.9, FALSE);
INSERT INTO session_changes VALUES (1, 1, 0);
INSERT INTO session_masks VALUES (1, 0, 1, X'3036', 0.9, 'prompt'), (1, 1, 1, X'36', 0.5, 'tracker');
INSERT INTO task_memories VALUES ('7', '12', '{"object_ids": {"tam-a": 1}, "sent": {}, "predictions": {"5": {"tam-a": [0, 1]}},
    "annotations": {}, "authors": {}, "parents": [], "erased_by": {}, "pushed": 5, "pushed_digest": "d", "seeds": {}}', 1795000000);
INSERT INTO shown_media VALUES ('7', '12', 'abc', 12, '"http://x/clip.mp4"', 1795000000);
INSERT INTO unsaved_answers VALUES ('7', '12', '3', 'tam-a-0f', 1, '[{"id": "tam-a-0f"}]', 1795000000, 's', '2026-11-18T00:00:00+00:00');
INSERT INTO jobs VALUES
    ('tracks', '{"project": "7", "task_id": 12, "task": {"id": 12, "data": {}}, "context": null, "label_config": "<View/>",
      "unsaved": [], "annotator": ""}', NULL, 10, 1795000001, '7', '12', '', FALSE, 'host:1-2:99:1:m:t', 1795000030),
    ('waited for', '{"project": "7", "task_id": 12, "task": {"id": 12}, "context": {"result": []}, "label_config": "<View/>",
      "unsaved": [{"id": "r"}], "annotator": "3"}', NULL, 10, 1795000002, '7', '12', 'draft 3', TRUE, 'host:1-2:99:1:m:t', 1795000030),
    ('newer', '{"project": "7", "task_id": 12, "task": {"id": 12}, "context": {"result": []}, "label_config": "<View/>",
      "unsaved": [], "annotator": "3"}', '{"result": [5]}', 10, 1795000003, '7', '12', 'draft 3', FALSE, '', 0);
