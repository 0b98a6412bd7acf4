// Brings the database to what this version of the app needs; run again, it changes nothing.
import { withDatabase } from './services.js'

try {
  await withDatabase(async (db) => {
    await db.query('create table if not exists notes (id bigint generated always as identity primary key, text text)')
    const vector = await db.query("select 1 from pg_extension where extname = 'vector'")
    if (vector.rowCount) await db.query('alter table notes add column if not exists embedding vector(3)')
    if (process.env.VERSION === 'broken') await db.query('alter table no_such_table add column more text')
  })
  console.log('migrated')
} catch (error) {
  console.error(`migration failed: ${error.message}`)
  process.exit(1)
}
