//! A database, row by row, into another one: from SQLite to PostgreSQL, back, or between two of a kind.

use std::path::Path;

use futures_util::TryStreamExt;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe, ConnectOptions, Connection, Executor, Row, Transaction};

use super::dialect::Dialect;
use super::schema::{self, Kind, SchemaError, Table};
use super::{MIGRATIONS, Place, Sql, StoreError, count, ensure_file, prepare};
use crate::database::Database;

/// Rows that are written with one statement.
const BATCH_ROWS: usize = 500;

/// What an API makes for itself at its first start, in a database that is otherwise empty: the source's
/// takes its place.
const REPLACED: &str = "DELETE FROM server_secrets";

/// About so many bytes of text are held at a time.
const BATCH_BYTES: usize = 1 << 20;

/// The values that one statement can have: SQLite allows half as many as PostgreSQL's 65535
/// (<https://sqlite.org/limits.html>).
const BATCH_VALUES: usize = 32_000;

/// Why a database was not copied. The target is then as it was, save that its tables were made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    /// From and to are one.
    #[error("`{0}` cannot be copied to itself")]
    Same(Database),
    /// One of the two cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another program would go on writing to it.
    #[error("`{0}` is in use by another program")]
    InUse(Database),
    /// It has none of our tables.
    #[error("`{0}` is no database of openruko")]
    Foreign(Database),
    /// The source is not of this version.
    #[error("`{database}` is from {} version of openruko", if *.newer { "a newer" } else { "an older" })]
    Version {
        /// The source.
        database: Database,
        /// Or older.
        newer: bool,
    },
    /// Nothing is overwritten or mixed.
    #[error("`{database}` is not empty: its table {table} has rows")]
    NotEmpty {
        /// The target.
        database: Database,
        /// The first of them.
        table: String,
    },
    /// The program's own tables cannot be told.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A table cannot be read or written.
    #[error("cannot copy the table {table}")]
    Table {
        /// Which.
        table: String,
        /// Why.
        source: sqlx::Error,
    },
    /// What arrived is not what there was.
    #[error("the table {table} has {was} rows, of which {is} arrived")]
    Incomplete {
        /// Which.
        table: String,
        /// In the source.
        was: u64,
        /// In the target.
        is: u64,
    },
    /// The transaction failed.
    #[error("cannot write to `{database}`")]
    Commit {
        /// The target.
        database: Database,
        /// Why.
        source: sqlx::Error,
    },
}

/// What was copied.
pub(crate) struct Copied {
    pub(crate) table: String,
    pub(crate) rows: u64,
}

/// Copies every table. Nobody else uses either database meanwhile, and the target has either all rows or
/// none.
pub(crate) async fn copy(from: &Place, to: &Place) -> Result<Vec<Copied>, CopyError> {
    if from.database == to.database {
        return Err(CopyError::Same(to.database.clone()));
    }
    let mut source = connect(from).await?;
    let mut source = alone(&mut source, from).await?;
    same_version(&mut source, &from.database).await?;
    let tables = schema::tables().await?;

    if let Database::Sqlite(path) = &to.database {
        make(path).map_err(|source| StoreError::File { path: path.clone(), source })?;
    }
    prepare(&to.options()?, &to.database).await?;
    let mut target = connect(to).await?;
    let mut target = alone(&mut target, to).await?;
    target
        .execute(REPLACED)
        .await
        .map_err(|source| CopyError::Table { table: "server_secrets".to_owned(), source })?;
    for table in &tables {
        if count_rows(&mut target, table).await? > 0 {
            return Err(CopyError::NotEmpty { database: to.database.clone(), table: table.name.clone() });
        }
    }
    let mut copied = Vec::new();
    for table in &tables {
        copied.push(copy_table(&mut source, &mut target, table).await?);
    }
    target.commit().await.map_err(|source| CopyError::Commit { database: to.database.clone(), source })?;
    Ok(copied)
}

async fn connect(place: &Place) -> Result<AnyConnection, StoreError> {
    place.options()?.connect().await.map_err(|source| place.unusable(source))
}

/// A transaction during which nobody else writes, on a database that nobody else has open.
async fn alone<'c>(db: &'c mut AnyConnection, place: &Place) -> Result<Transaction<'c, Any>, CopyError> {
    let dialect = Dialect::from(&place.database);
    let failed = |source: sqlx::Error| match super::dialect::is_in_use(&source) {
        true => CopyError::InUse(place.database.clone()),
        false => place.unusable(source).into(),
    };
    db.execute(dialect.prepare_copy()).await.map_err(failed)?;
    let mut db = db.begin_with(dialect.begin_alone()).await.map_err(failed)?;
    dialect.lock(&mut db).await.map_err(failed)?;
    if let Some(sql) = dialect.others() {
        let (others,): (i64,) = sqlx::query_as(sql).fetch_one(&mut *db).await.map_err(failed)?;
        if others > 0 {
            return Err(CopyError::InUse(place.database.clone()));
        }
    }
    Ok(db)
}

/// The migrations of the database are those of this program.
async fn same_version(db: &mut AnyConnection, database: &Database) -> Result<(), CopyError> {
    let applied: Sql<Vec<(i64,)>> =
        sqlx::query_as("SELECT version FROM _sqlx_migrations WHERE success ORDER BY version")
            .fetch_all(db)
            .await;
    let applied = applied.map_err(|_| CopyError::Foreign(database.clone()))?;
    match applied.len().cmp(&MIGRATIONS.len()) {
        std::cmp::Ordering::Equal => Ok(()),
        order => Err(CopyError::Version { database: database.clone(), newer: order.is_gt() }),
    }
}

/// Makes the file as [`ensure_file`] does. Made by root, it is given to the owner of its directory: that is
/// who the API runs as.
fn make(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};
    let is_new = !path.exists();
    ensure_file(path)?;
    let Some(dir) = path.parent().filter(|_| is_new) else { return Ok(()) };
    let (dir, file) = (std::fs::metadata(dir)?, std::fs::metadata(path)?);
    if file.uid() == 0 && dir.uid() != 0 {
        chown(path, Some(dir.uid()), Some(dir.gid()))?;
    }
    Ok(())
}

async fn count_rows(db: &mut AnyConnection, table: &Table) -> Result<u64, CopyError> {
    let sql = format!("SELECT COUNT(*) FROM {}", quoted(&table.name));
    let counted = sqlx::query_as(AssertSqlSafe(sql)).fetch_one(db).await;
    counted.and_then(|(rows,): (i64,)| count(rows)).map_err(|source| at(table, source))
}

fn at(table: &Table, source: sqlx::Error) -> CopyError {
    CopyError::Table { table: table.name.clone(), source }
}

async fn copy_table(
    source: &mut AnyConnection,
    target: &mut AnyConnection,
    table: &Table,
) -> Result<Copied, CopyError> {
    let was = count_rows(source, table).await?;
    stream(source, target, table).await.map_err(|source| at(table, source))?;
    let is = count_rows(target, table).await?;
    if was != is {
        return Err(CopyError::Incomplete { table: table.name.clone(), was, is });
    }
    Ok(Copied { table: table.name.clone(), rows: is })
}

async fn stream(source: &mut AnyConnection, target: &mut AnyConnection, table: &Table) -> Sql<()> {
    let mut rows = sqlx::query(AssertSqlSafe(select(table))).fetch(source);
    let mut batch = Batch::default();
    while let Some(row) = rows.try_next().await? {
        batch.take(&row, table)?;
        if batch.is_full(table) {
            batch.write(target, table).await?;
        }
    }
    batch.write(target, table).await
}

/// A value on its way.
enum Value {
    Text(Option<String>),
    BigInt(Option<i64>),
}

/// Rows that are held until they are written together.
#[derive(Default)]
struct Batch {
    values: Vec<Value>,
    rows: usize,
    bytes: usize,
}

impl Batch {
    fn take(&mut self, row: &AnyRow, table: &Table) -> Sql<()> {
        for (index, column) in table.columns.iter().enumerate() {
            let value = match column.kind {
                Kind::BigInt => Value::BigInt(row.try_get(index)?),
                Kind::Text => {
                    let text: Option<String> = row.try_get(index)?;
                    self.bytes += text.as_ref().map_or(0, String::len);
                    Value::Text(text)
                }
            };
            self.values.push(value);
        }
        self.rows += 1;
        Ok(())
    }

    fn is_full(&self, table: &Table) -> bool {
        let values = (self.rows + 1) * table.columns.len();
        self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES || values > BATCH_VALUES
    }

    /// Leaves it empty.
    async fn write(&mut self, target: &mut AnyConnection, table: &Table) -> Sql<()> {
        let batch = std::mem::take(self);
        if batch.rows == 0 {
            return Ok(());
        }
        let sql = AssertSqlSafe(insert(table, batch.rows));
        let insert = batch.values.into_iter().fold(sqlx::query(sql).persistent(false), bound);
        insert.execute(target).await.map(drop)
    }
}

fn bound(query: Query<'_, Any, AnyArguments>, value: Value) -> Query<'_, Any, AnyArguments> {
    match value {
        Value::Text(text) => query.bind(text),
        Value::BigInt(number) => query.bind(number),
    }
}

/// By primary key: rows that others of their table refer to come first.
fn select(table: &Table) -> String {
    let key: Vec<_> = table.key.iter().map(|column| quoted(column)).collect();
    format!("SELECT {} FROM {} ORDER BY {}", columns(table), quoted(&table.name), key.join(", "))
}

fn insert(table: &Table, rows: usize) -> String {
    let mut sql = format!("INSERT INTO {} ({}) VALUES ", quoted(&table.name), columns(table));
    let width = table.columns.len();
    for row in 0..rows {
        let places: Vec<_> = (1..=width).map(|place| format!("${}", row * width + place)).collect();
        let comma = if row == 0 { "" } else { ", " };
        sql.push_str(&format!("{comma}({})", places.join(", ")));
    }
    sql
}

fn columns(table: &Table) -> String {
    let columns: Vec<_> = table.columns.iter().map(|column| quoted(&column.name)).collect();
    columns.join(", ")
}

/// A name of the schema, in the way of standard SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::store::Store;
    use ruko_test_postgres::Server;

    /// More than two batches.
    const ROWS: usize = 2 * BATCH_ROWS + 3;

    fn place(database: &str) -> Place {
        Place { database: database.parse().unwrap(), password_file: None }
    }

    async fn made(place: &Place) {
        Store::open(place).await.unwrap().close().await;
    }

    /// What a column refers to, and which columns may be NULL: as SQLite tells it.
    struct Facts {
        references: BTreeMap<(String, String), (String, String)>,
        nullable: BTreeMap<(String, String), bool>,
    }

    impl Facts {
        async fn of(db: &mut AnyConnection, tables: &[Table]) -> Self {
            let (mut references, mut nullable) = (BTreeMap::new(), BTreeMap::new());
            for table in tables {
                let name = &table.name;
                let keys: Vec<(String, String, String)> =
                    sqlx::query_as(r#"SELECT "from", "table", "to" FROM pragma_foreign_key_list($1)"#)
                        .bind(name.as_str())
                        .fetch_all(&mut *db)
                        .await
                        .unwrap();
                references
                    .extend(keys.into_iter().map(|(from, table, to)| ((name.clone(), from), (table, to))));
                let columns: Vec<(String, i64)> =
                    sqlx::query_as(r#"SELECT name, "notnull" FROM pragma_table_info($1)"#)
                        .bind(name.as_str())
                        .fetch_all(&mut *db)
                        .await
                        .unwrap();
                nullable.extend(
                    columns.into_iter().map(|(column, notnull)| ((name.clone(), column), notnull == 0)),
                );
            }
            Self { references, nullable }
        }

        /// The value of a column in a row, so that references find their rows.
        fn value(&self, table: &str, column: &str, kind: Kind, row: usize) -> Value {
            let at = (table.to_owned(), column.to_owned());
            if row == 0 && self.nullable[&at] {
                return match kind {
                    Kind::Text => Value::Text(None),
                    Kind::BigInt => Value::BigInt(None),
                };
            }
            match self.references.get(&at) {
                Some((parent, to)) if *parent != table => self.value(parent, to, kind, row),
                _ => match kind {
                    Kind::Text => Value::Text(Some(format!("{table}.{column} {row}\n'\"\\ ünï\u{1F600}\t"))),
                    Kind::BigInt => Value::BigInt(Some(i64::MAX - i64::try_from(row).unwrap())),
                },
            }
        }
    }

    /// Puts rows into every table there is.
    async fn fill(place: &Place, tables: &[Table]) {
        let store = Store::open(place).await.unwrap();
        let mut db = store.write().await.unwrap();
        let facts = Facts::of(&mut db, tables).await;
        for table in tables {
            let mut batch = Batch::default();
            for row in 0..ROWS {
                let value =
                    |column: &schema::Column| facts.value(&table.name, &column.name, column.kind, row);
                batch.values.extend(table.columns.iter().map(value));
                batch.rows += 1;
                if batch.is_full(table) {
                    batch.write(&mut db, table).await.unwrap();
                }
            }
            batch.write(&mut db, table).await.unwrap();
        }
        db.commit().await.unwrap();
        store.close().await;
    }

    /// Every row of every table, as text.
    async fn contents(place: &Place, tables: &[Table]) -> Vec<String> {
        let mut db = connect(place).await.unwrap();
        let mut all = Vec::new();
        for table in tables {
            let rows = sqlx::query(AssertSqlSafe(select(table))).fetch_all(&mut db).await.unwrap();
            for row in rows {
                let value = |(index, column): (usize, &schema::Column)| match column.kind {
                    Kind::Text => format!("{:?}", row.get::<Option<String>, _>(index)),
                    Kind::BigInt => format!("{:?}", row.get::<Option<i64>, _>(index)),
                };
                let values: Vec<_> = table.columns.iter().enumerate().map(value).collect();
                all.push(format!("{}: {}", table.name, values.join(", ")));
            }
        }
        db.close().await.unwrap();
        all
    }

    #[test]
    fn there_and_back_again_every_row_of_every_table_is_the_same() {
        let (dir, server) = (tempfile::tempdir().unwrap(), Server::shared().database());
        let file = |name: &str| place(&format!("sqlite://{}/{name}", dir.path().display()));
        let (first, there, back) = (file("first.db"), place(&server.url()), file("back.db"));
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            sqlx::any::install_default_drivers();
            let tables = schema::tables().await.unwrap();
            fill(&first, &tables).await;
            let copied = copy(&first, &there).await.unwrap();
            assert!(copied.iter().all(|table| table.rows == ROWS as u64));
            assert_eq!(copied.len(), tables.len());
            copy(&there, &back).await.unwrap();
            let was = contents(&first, &tables).await;
            assert_eq!(was.len(), ROWS * tables.len());
            assert!(contents(&there, &tables).await == was, "there");
            assert!(contents(&back, &tables).await == was, "and back");
        });
    }

    #[test]
    fn a_database_of_another_version_or_of_another_program_is_not_copied() {
        let (dir, server) = (tempfile::tempdir().unwrap(), Server::shared().database());
        let target = place(&server.url());
        let file = place(&format!("sqlite://{}/api.db", dir.path().display()));
        let refused = async || copy(&file, &target).await.map(drop).unwrap_err().to_string();
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            assert!(refused().await.starts_with("cannot use the database"), "there is none yet");
            std::fs::write(dir.path().join("api.db"), "").unwrap();
            assert!(refused().await.ends_with("is no database of openruko"));
            made(&file).await;
            let change = async |sql: &'static str| {
                let mut db = connect(&file).await.unwrap();
                db.execute(sql).await.unwrap();
                db.close().await.unwrap();
            };
            change("INSERT INTO _sqlx_migrations SELECT 999, 'x', installed_on, TRUE, checksum, 0 FROM _sqlx_migrations WHERE version = 1").await;
            assert!(refused().await.ends_with("is from a newer version of openruko"));
            change("UPDATE _sqlx_migrations SET success = FALSE").await;
            assert!(refused().await.ends_with("is from an older version of openruko"));
            assert_eq!(copy(&file, &file).await.map(drop).unwrap_err().to_string(), format!("`{}` cannot be copied to itself", file.database));
        });
    }

    #[test]
    fn a_copy_that_fails_in_between_leaves_no_row_behind() {
        let (dir, server) = (tempfile::tempdir().unwrap(), Server::shared().database());
        let (file, target) =
            (place(&format!("sqlite://{}/api.db", dir.path().display())), place(&server.url()));
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            made(&file).await;
            let mut db = connect(&file).await.unwrap();
            // SQLite takes a NUL, PostgreSQL does not.
            db.execute(
                "INSERT INTO users (id, name, created_at) VALUES ('1', 'ann', 0); \
                 INSERT INTO apps (id, name, owner_id, stack, created_at) \
                 VALUES ('1', 'a' || char(0), '1', 's', 0)",
            )
            .await
            .unwrap();
            db.close().await.unwrap();
            let failed = copy(&file, &target).await.map(drop).unwrap_err();
            assert_eq!(failed.to_string(), "cannot copy the table apps");
            assert_eq!(server.sql("SELECT count(*) FROM users"), "0\n");
        });
    }
}
