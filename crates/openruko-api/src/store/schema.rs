//! The tables as the migrations make them, read from the database itself: here a passing one in memory.

use std::collections::BTreeSet;

use sqlx::{AnyConnection, Connection, Row};

use super::dialect::Dialect;
use super::{Sql, migrations};

/// A table of the schema.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    /// In the order of their declaration.
    pub(super) columns: Vec<Column>,
    /// The columns of the primary key, in its order.
    pub(super) key: Vec<String>,
    /// The other tables that rows of this one refer to.
    parents: BTreeSet<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// What migrations use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    BigInt,
}

/// Why the tables cannot be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SchemaError {
    #[error("cannot read the schema")]
    Sql(#[from] sqlx::Error),
    #[error("cannot make the schema")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the column {column} of the table {table} has the type {kind}, which is not known here")]
    Kind { table: String, column: String, kind: String },
    #[error("the tables {0} refer to each other in a circle")]
    Circle(String),
}

/// All tables, each after those that its rows refer to.
pub(super) async fn tables() -> Result<Vec<Table>, SchemaError> {
    let mut db = AnyConnection::connect("sqlite::memory:").await?;
    migrations(Dialect::Sqlite).run(&mut db).await?;
    let names: Vec<(String,)> = sqlx::query_as(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~' \
         AND name <> '_sqlx_migrations' ORDER BY name",
    )
    .fetch_all(&mut db)
    .await?;
    let mut tables = Vec::new();
    for (name,) in names {
        tables.push(table(&mut db, name).await?);
    }
    db.close().await?;
    in_order(tables)
}

async fn table(db: &mut AnyConnection, name: String) -> Result<Table, SchemaError> {
    let rows = sqlx::query("SELECT name, type, pk FROM pragma_table_info($1) ORDER BY cid")
        .bind(name.as_str())
        .fetch_all(&mut *db)
        .await?;
    let (mut columns, mut key) = (Vec::new(), Vec::new());
    for row in rows {
        let (column, kind, place): (String, String, i64) =
            (row.try_get("name")?, row.try_get("type")?, row.try_get("pk")?);
        if place > 0 {
            key.push((place, column.clone()));
        }
        let kind = match kind.as_str() {
            "TEXT" => Kind::Text,
            "BIGINT" => Kind::BigInt,
            _ => return Err(SchemaError::Kind { table: name, column, kind }),
        };
        columns.push(Column { name: column, kind });
    }
    key.sort_unstable();
    let parents = parents(db, &name).await?;
    Ok(Table { name, columns, key: key.into_iter().map(|(_, column)| column).collect(), parents })
}

/// Rows that refer to others of the same table are copied after them where the order of the key is the
/// order of their making, as it is everywhere here.
async fn parents(db: &mut AnyConnection, name: &str) -> Sql<BTreeSet<String>> {
    let rows: Vec<(String,)> =
        sqlx::query_as(r#"SELECT "table" FROM pragma_foreign_key_list($1)"#).bind(name).fetch_all(db).await?;
    Ok(rows.into_iter().map(|(parent,)| parent).filter(|parent| parent != name).collect())
}

fn in_order(mut waiting: Vec<Table>) -> Result<Vec<Table>, SchemaError> {
    let mut ordered: Vec<Table> = Vec::new();
    while !waiting.is_empty() {
        let is_there = |parent: &String| ordered.iter().any(|table| table.name == *parent);
        let (ready, rest): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|table| table.parents.iter().all(is_there));
        if ready.is_empty() {
            let names: Vec<_> = rest.into_iter().map(|table| table.name).collect();
            return Err(SchemaError::Circle(names.join(", ")));
        }
        ordered.extend(ready);
        waiting = rest;
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_parents(name: &str, parents: &[&str]) -> Table {
        let parents = parents.iter().map(|&parent| parent.to_owned()).collect();
        Table { name: name.to_owned(), columns: Vec::new(), key: Vec::new(), parents }
    }

    #[test]
    fn the_schema_that_ships_can_be_copied() {
        sqlx::any::install_default_drivers();
        let tables = tokio::runtime::Runtime::new().unwrap().block_on(tables()).unwrap();
        let at = |name: &str| tables.iter().position(|table| table.name == name).unwrap();
        assert!(at("users") < at("apps") && at("apps") < at("releases") && at("slugs") < at("releases"));
        assert!(at("releases") < at("process_types"));
        for table in &tables {
            assert!(!table.key.is_empty(), "{table:?} has no primary key");
        }
        let process_types = &tables[at("process_types")];
        assert_eq!(process_types.key, ["app_id", "version", "name"]);
        assert_eq!(process_types.columns[1], Column { name: "version".into(), kind: Kind::BigInt });
    }

    #[test]
    fn tables_come_after_those_they_refer_to_and_a_circle_is_named() {
        let tables = [("c", &["a", "b"][..]), ("b", &["a"]), ("a", &[])];
        let tables = tables.map(|(name, parents)| with_parents(name, parents)).into();
        let names: Vec<_> = in_order(tables).unwrap().into_iter().map(|table| table.name).collect();
        assert_eq!(names, ["a", "b", "c"]);
        let circle = vec![with_parents("a", &["b"]), with_parents("b", &["a"]), with_parents("c", &[])];
        assert_eq!(
            in_order(circle).unwrap_err().to_string(),
            "the tables a, b refer to each other in a circle"
        );
    }
}
