"""The core: events, jobs, attempts, products, processes."""

from alembic import op

revision = "0001"
down_revision = None

DEFINITIONS = """
CREATE TABLE event (
    id TEXT NOT NULL, kind TEXT NOT NULL, schema INTEGER NOT NULL, dedupe_key TEXT NOT NULL,
    subject TEXT NOT NULL, payload TEXT NOT NULL, source TEXT NOT NULL, parent_event_id TEXT,
    cause_job_id TEXT, occurred_at DOUBLE NOT NULL, recorded_at DOUBLE NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (dedupe_key)
);
CREATE INDEX event_cause ON event (cause_job_id) WHERE cause_job_id IS NOT NULL;
CREATE INDEX event_kind ON event (kind, recorded_at);
CREATE INDEX event_recorded ON event (recorded_at, id);

CREATE TABLE job (
    id TEXT NOT NULL, event_id TEXT NOT NULL, task TEXT NOT NULL, queue TEXT NOT NULL,
    args TEXT NOT NULL, subject TEXT NOT NULL, lock_key TEXT, coalesce_key TEXT,
    priority INTEGER NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL, not_before DOUBLE NOT NULL, sent_at DOUBLE,
    sends INTEGER NOT NULL, owner TEXT, error_class TEXT, error_text TEXT,
    created_at DOUBLE NOT NULL, started_at DOUBLE, finished_at DOUBLE,
    batch_id TEXT, requested_by TEXT,
    PRIMARY KEY (id),
    FOREIGN KEY (event_id) REFERENCES event (id)
);
CREATE INDEX job_created ON job (created_at, id);
CREATE INDEX job_event ON job (event_id);
CREATE INDEX job_subject ON job (subject, created_at);
CREATE INDEX job_tail ON job (substr(id, 29));
CREATE INDEX job_task ON job (task, created_at, id);
CREATE UNIQUE INDEX job_coalesce ON job (coalesce_key) WHERE state = 'waiting' AND attempts = 0;
CREATE UNIQUE INDEX job_lock ON job (lock_key) WHERE state = 'running';
CREATE INDEX job_running ON job (owner) WHERE state = 'running';
CREATE INDEX job_next ON job (lock_key, priority) WHERE state = 'waiting';
CREATE INDEX job_release ON job (queue, priority, not_before)
    WHERE state = 'waiting' AND sent_at IS NULL;
CREATE INDEX job_sent ON job (queue, sent_at) WHERE state = 'waiting' AND sent_at IS NOT NULL;
CREATE INDEX job_dead ON job (queue, error_class) WHERE state = 'dead';
CREATE INDEX job_ended ON job (queue, finished_at, state) WHERE finished_at IS NOT NULL;
CREATE INDEX job_odd ON job (state, created_at, id)
    WHERE state IN ('dead', 'skipped', 'cancelled');

CREATE TABLE attempt (
    job_id TEXT NOT NULL, n INTEGER NOT NULL, owner TEXT, code_version TEXT,
    started_at DOUBLE, finished_at DOUBLE NOT NULL, outcome TEXT NOT NULL,
    error_class TEXT, traceback TEXT, log_path TEXT, cpu_s DOUBLE, max_rss_kb INTEGER,
    PRIMARY KEY (job_id, n),
    FOREIGN KEY (job_id) REFERENCES job (id)
);

CREATE TABLE product (
    id TEXT NOT NULL, job_id TEXT NOT NULL, n INTEGER NOT NULL, role TEXT NOT NULL,
    kind TEXT NOT NULL, path TEXT NOT NULL, size BIGINT NOT NULL, sha256 TEXT NOT NULL,
    created_at DOUBLE NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY (job_id) REFERENCES job (id)
);
CREATE INDEX product_created ON product (created_at, role);
CREATE INDEX product_job ON product (job_id);
CREATE INDEX product_path ON product (path, created_at);

CREATE TABLE process (
    name TEXT NOT NULL, kind TEXT NOT NULL, queues TEXT NOT NULL, host TEXT NOT NULL,
    pid INTEGER NOT NULL, pid_start DOUBLE NOT NULL, started DOUBLE NOT NULL,
    beat DOUBLE NOT NULL, version TEXT NOT NULL,
    PRIMARY KEY (name)
)
"""


def upgrade() -> None:
    """Make the first tables; but for one type, SQLite and PostgreSQL have the same words."""
    double = "DOUBLE" if op.get_bind().dialect.name == "sqlite" else "DOUBLE PRECISION"
    for definition in DEFINITIONS.split(";"):
        op.execute(" ".join(definition.split()).replace("DOUBLE", double))
