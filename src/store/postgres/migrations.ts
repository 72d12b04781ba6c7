/**
 * The tables, as numbered steps that are never changed afterwards: the database is brought from wherever it is to the
 * last of them, by one process at a time, each step whole or not at all.
 *
 *   bankswitch_store      one row: which step the tables are at, and the store's revision, raised last in every change
 *   bankswitch_domains    a row for each domain that there is or was: its pointer, but for the versions, and its gate
 *   bankswitch_versions   a row for each version: its record, and its file
 *   bankswitch_shipped    which shipped banks a domain has had
 *   bankswitch_jobs       how calibrations stand, and which process runs them
 *
 * `changed` is the revision of the store at which a row changed last; a removed domain keeps its row, without a
 * pointer.
 */
import { storeErrors } from '../errors.js'
import type { Database, Statements } from './database.js'

const MIGRATIONS: readonly string[] = [`
  CREATE TABLE bankswitch_store (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    schema integer NOT NULL,
    revision bigint NOT NULL
  );
  INSERT INTO bankswitch_store (schema, revision) VALUES (0, 0);
  CREATE TABLE bankswitch_domains (
    model text COLLATE "C" NOT NULL,
    domain text COLLATE "C" NOT NULL,
    changed bigint NOT NULL,
    revision bigint NOT NULL,
    last_version bigint NOT NULL,
    pointer json,
    gate bytea,
    changes uuid[] NOT NULL,
    PRIMARY KEY (model, domain)
  );
  ALTER TABLE bankswitch_domains ALTER COLUMN gate SET STORAGE EXTERNAL;
  CREATE INDEX bankswitch_domains_changed ON bankswitch_domains (changed);
  CREATE TABLE bankswitch_versions (
    model text COLLATE "C" NOT NULL,
    domain text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    changed bigint NOT NULL,
    record json NOT NULL,
    file bytea NOT NULL,
    PRIMARY KEY (model, domain, version)
  );
  ALTER TABLE bankswitch_versions ALTER COLUMN file SET STORAGE EXTERNAL;
  CREATE INDEX bankswitch_versions_changed ON bankswitch_versions (changed);
  CREATE TABLE bankswitch_shipped (
    model text COLLATE "C" NOT NULL,
    domain text COLLATE "C" NOT NULL,
    memory json NOT NULL,
    PRIMARY KEY (model, domain)
  );
  CREATE TABLE bankswitch_jobs (
    id uuid PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    owner uuid NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now(),
    is_ended boolean NOT NULL,
    is_cancelled boolean NOT NULL DEFAULT false,
    record json NOT NULL,
    result json
  );
  CREATE INDEX bankswitch_jobs_created ON bankswitch_jobs (created_at);
`]

/** What the tables are at when this server has them. */
export const SCHEMA = MIGRATIONS.length

/** Of all who bring tables up to date or shipped domains into the store. */
export const START_LOCK = 0x62616e6b73n

/** Brings the tables up to date. Throws STORE_FORMAT_UNKNOWN for those of a newer server, and DatabaseAway. */
export async function migrate (database: Database): Promise<void> {
  // By itself, so that a role without the right to make tables can use those that are up to date.
  if (await schemaOf(database) === SCHEMA) return
  // The transaction begins under the lock: a session that waits for one within it may not see tables made meanwhile.
  await database.exclusively(START_LOCK, () => database.transaction({ isPatient: true }, async (statements) => {
    const found = await schemaOf(statements)
    requireKnown(found)
    for (const step of MIGRATIONS.slice(found)) await statements.rows(step)
    await statements.rows('UPDATE bankswitch_store SET schema = $1', [SCHEMA])
  }))
}

/** For who must not change them. Throws STORE_FORMAT_UNKNOWN, STORE_UNREADABLE and DatabaseAway. */
export async function requireMigrated (database: Database): Promise<void> {
  const found = await schemaOf(database)
  requireKnown(found)
  if (found === SCHEMA) return
  throw storeErrors.STORE_UNREADABLE(
    found === 0
      ? 'the database holds no store yet'
      : 'an older server made this store; a start of this one brings it up to date',
    { expected: SCHEMA, received: found }
  )
}

/** Throws STORE_FORMAT_UNKNOWN. */
export function requireKnown (found: number): void {
  if (found <= SCHEMA) return
  throw storeErrors.STORE_FORMAT_UNKNOWN(
    `the tables of the store have format ${found}, this server knows formats up to ${SCHEMA}: a newer one made them`,
    { expected: SCHEMA, received: found }
  )
}

/** 0 where there are no tables. */
async function schemaOf (statements: Statements): Promise<number> {
  const [place] = await statements.rows<{ name: string | null }>("SELECT to_regclass('bankswitch_store')::text AS name")
  if (place!.name === null) return 0
  const [row] = await statements.rows<{ schema: number }>('SELECT schema FROM bankswitch_store')
  return row!.schema
}
