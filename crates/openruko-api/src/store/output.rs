//! What builds print.

use ruko_core::PushId;
use sqlx::AnyConnection;

use super::{Sql, big, count};

/// One piece, and where it begins in the whole.
pub(crate) struct Piece {
    pub(crate) start: u64,
    pub(crate) text: String,
}

/// Stores a piece and says how far the output reaches then.
pub(crate) async fn append(db: &mut AnyConnection, push: &PushId, piece: &Piece, reaches: u64) -> Sql<()> {
    sqlx::query("INSERT INTO push_output (push_id, start, text) VALUES ($1, $2, $3)")
        .bind(push.as_str())
        .bind(big(piece.start)?)
        .bind(piece.text.as_str())
        .execute(&mut *db)
        .await?;
    sqlx::query("UPDATE pushes SET output_bytes = $1 WHERE id = $2")
        .bind(big(reaches)?)
        .bind(push.as_str())
        .execute(db)
        .await
        .map(drop)
}

/// The next pieces, from a position on.
pub(crate) async fn pieces(db: &mut AnyConnection, push: &PushId, from: u64, limit: u32) -> Sql<Vec<Piece>> {
    let rows: Vec<(i64, String)> = sqlx::query_as(
        "SELECT start, text FROM push_output WHERE push_id = $1 AND start >= $2 ORDER BY start LIMIT $3",
    )
    .bind(push.as_str())
    .bind(big(from)?)
    .bind(i64::from(limit))
    .fetch_all(db)
    .await?;
    rows.into_iter().map(|(start, text)| Ok(Piece { start: count(start)?, text })).collect()
}
