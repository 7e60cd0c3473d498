/**
 * Numbered migrations, applied in order inside one transaction each; `PRAGMA user_version` holds how many were applied.
 * A landed migration never changes. `doc` columns are JSON; what must be unique or looked up has a column of its own.
 */
export const migrations: readonly string[] = [
  `
  CREATE TABLE containers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,
    doc TEXT NOT NULL
  ) WITHOUT ROWID, STRICT;
  CREATE TABLE execs (
    id TEXT PRIMARY KEY,
    container_id TEXT NOT NULL,
    doc TEXT NOT NULL
  ) WITHOUT ROWID, STRICT;
  CREATE INDEX execs_by_container ON execs (container_id);
  CREATE TABLE volumes (name TEXT PRIMARY KEY, doc TEXT NOT NULL) WITHOUT ROWID, STRICT;
  CREATE TABLE networks (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, doc TEXT NOT NULL) WITHOUT ROWID, STRICT;
  CREATE TABLE endpoints (
    id TEXT PRIMARY KEY,
    network_id TEXT NOT NULL,
    container_id TEXT NOT NULL,
    ipv4 TEXT,
    ipv6 TEXT,
    doc TEXT NOT NULL,
    UNIQUE (network_id, container_id),
    UNIQUE (network_id, ipv4),
    UNIQUE (network_id, ipv6)
  ) WITHOUT ROWID, STRICT;
  CREATE INDEX endpoints_by_container ON endpoints (container_id);
  CREATE TABLE ports (
    protocol TEXT NOT NULL,
    host_port INTEGER NOT NULL,
    host_ip TEXT NOT NULL,
    container_id TEXT NOT NULL,
    endpoint_id TEXT NOT NULL,
    PRIMARY KEY (protocol, host_port, host_ip)
  ) WITHOUT ROWID, STRICT;
  CREATE INDEX ports_by_endpoint ON ports (endpoint_id);
  CREATE TABLE images (id TEXT PRIMARY KEY, doc TEXT NOT NULL) WITHOUT ROWID, STRICT;
  CREATE TABLE image_references (name TEXT PRIMARY KEY, image_id TEXT NOT NULL) WITHOUT ROWID, STRICT;
  CREATE INDEX image_references_by_image ON image_references (image_id);
  CREATE TABLE leases (
    id TEXT PRIMARY KEY,
    pid INTEGER NOT NULL,
    start_ticks INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    resource TEXT NOT NULL
  ) WITHOUT ROWID, STRICT;
  CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time_ns INTEGER NOT NULL,
    type TEXT NOT NULL,
    action TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    attributes TEXT NOT NULL
  ) STRICT;
  CREATE INDEX events_by_time ON events (time_ns);
  CREATE INDEX events_by_actor ON events (actor_id, id);
  CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT;
  `,
  `
  ALTER TABLE images ADD COLUMN config TEXT;
  CREATE TABLE image_variants (
    index_digest TEXT NOT NULL,
    image_id TEXT NOT NULL,
    PRIMARY KEY (index_digest, image_id)
  ) WITHOUT ROWID, STRICT;
  CREATE INDEX image_variants_by_image ON image_variants (image_id);
  CREATE TABLE blob_sources (
    digest TEXT NOT NULL,
    domain TEXT NOT NULL,
    path TEXT NOT NULL,
    PRIMARY KEY (digest, domain, path)
  ) WITHOUT ROWID, STRICT;
  `,
  `
  CREATE TABLE image_uses (
    image_id TEXT PRIMARY KEY,
    parent_id TEXT,
    used_ms INTEGER NOT NULL
  ) WITHOUT ROWID, STRICT;
  CREATE TABLE image_mounts (
    image_id TEXT PRIMARY KEY,
    mounts INTEGER NOT NULL,
    boot_id TEXT NOT NULL
  ) WITHOUT ROWID, STRICT;
  `,
  'ALTER TABLE image_references ADD COLUMN root TEXT',
  `
  CREATE TABLE volume_mounts (
    volume TEXT NOT NULL,
    container_id TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    PRIMARY KEY (volume, container_id)
  ) WITHOUT ROWID, STRICT;
  CREATE INDEX volume_mounts_by_container ON volume_mounts (container_id);
  `,
  // Bytes of all events up to this one, of those too that were trimmed.
  'ALTER TABLE events ADD COLUMN position INTEGER NOT NULL DEFAULT 0',
  `
  CREATE TABLE container_links (
    parent_id TEXT NOT NULL,
    alias TEXT NOT NULL,
    child_id TEXT NOT NULL,
    PRIMARY KEY (parent_id, alias)
  ) WITHOUT ROWID, STRICT;
  CREATE INDEX container_links_by_child ON container_links (child_id);
  `,
  `
  CREATE TABLE egress_policies (subject TEXT PRIMARY KEY, kind TEXT NOT NULL, doc TEXT NOT NULL) WITHOUT ROWID, STRICT;
  CREATE TABLE egress_names (
    subject TEXT NOT NULL,
    name TEXT NOT NULL,
    address TEXT NOT NULL,
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY (subject, name, address)
  ) WITHOUT ROWID, STRICT;
  CREATE TABLE egress_attempts (
    subject TEXT NOT NULL,
    is_denied INTEGER NOT NULL,
    container_id TEXT NOT NULL,
    destination TEXT NOT NULL,
    protocol TEXT NOT NULL,
    port INTEGER NOT NULL,
    count INTEGER NOT NULL,
    total INTEGER NOT NULL,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    PRIMARY KEY (subject, is_denied, container_id, destination, protocol, port)
  ) STRICT;
  CREATE INDEX egress_attempts_by_time ON egress_attempts (subject, last_ms);
  `,
  `
  CREATE TABLE checkpoints (
    container_id TEXT NOT NULL,
    directory TEXT NOT NULL,
    name TEXT NOT NULL,
    is_whole INTEGER NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (container_id, directory, name)
  ) WITHOUT ROWID, STRICT;
  `,
  // The build cache. A key's id is `sha256:` of `DIGEST@OUTPUT` for what has no inputs, else chosen at random.
  `
  CREATE TABLE build_links (
    parent_id TEXT NOT NULL,
    input INTEGER NOT NULL,
    digest TEXT NOT NULL,
    selector TEXT NOT NULL,
    child_id TEXT NOT NULL,
    PRIMARY KEY (parent_id, input, digest, selector, child_id)
  ) WITHOUT ROWID, STRICT;
  CREATE INDEX build_links_by_child ON build_links (child_id);
  CREATE TABLE build_results (
    id INTEGER PRIMARY KEY,
    key_id TEXT NOT NULL,
    layers TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    UNIQUE (key_id, layers)
  ) STRICT;
  CREATE TABLE build_result_layers (
    layer TEXT NOT NULL,
    result_id INTEGER NOT NULL REFERENCES build_results (id) ON DELETE CASCADE,
    PRIMARY KEY (layer, result_id)
  ) WITHOUT ROWID, STRICT;
  CREATE INDEX build_result_layers_by_result ON build_result_layers (result_id);
  CREATE TABLE build_records (
    id TEXT PRIMARY KEY,
    layer TEXT UNIQUE,
    folder TEXT,
    type TEXT NOT NULL,
    description TEXT NOT NULL,
    parents TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    last_used_ms INTEGER,
    usage_count INTEGER NOT NULL
  ) WITHOUT ROWID, STRICT;
  `,
  // Builds that run (completed_ms is null) and builds that are over. What a record names in the content store is kept with it.
  `
  CREATE TABLE build_history (
    ref TEXT PRIMARY KEY,
    created_ms INTEGER NOT NULL,
    completed_ms INTEGER,
    is_pinned INTEGER NOT NULL,
    doc TEXT NOT NULL
  ) WITHOUT ROWID, STRICT;
  CREATE TABLE build_history_blobs (
    ref TEXT NOT NULL REFERENCES build_history (ref) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    PRIMARY KEY (ref, digest)
  ) WITHOUT ROWID, STRICT;
  `,
  // Blobs of the build cache's layers, beside those that images have. Form: how it was packed; empty: it came so.
  `
  CREATE TABLE build_blobs (
    layer TEXT NOT NULL,
    form TEXT NOT NULL,
    diff_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    PRIMARY KEY (layer, form)
  ) WITHOUT ROWID, STRICT;
  `,
  `
  CREATE TABLE working_containers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    image_id TEXT,
    doc TEXT NOT NULL
  ) WITHOUT ROWID, STRICT;
  CREATE INDEX working_containers_by_image ON working_containers (image_id);
  `,
];
