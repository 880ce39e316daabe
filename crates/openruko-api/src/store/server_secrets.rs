//! Secrets of this installation, made when they are first needed and the same for every API on this database.

use sqlx::AnyConnection;

use super::Sql;
use crate::token::Token;

/// What the secrets in the URLs of builds' outputs are made with.
pub(crate) const OUTPUT: &str = "output";

/// The secret of that name; `fresh` if there was none.
pub(crate) async fn of_name(db: &mut AnyConnection, name: &str, fresh: &Token) -> Sql<Token> {
    sqlx::query("INSERT INTO server_secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
        .bind(name)
        .bind(fresh.reveal())
        .execute(&mut *db)
        .await?;
    let (value,): (String,) =
        sqlx::query_as("SELECT value FROM server_secrets WHERE name = $1").bind(name).fetch_one(db).await?;
    Ok(Token::presented(&value))
}
