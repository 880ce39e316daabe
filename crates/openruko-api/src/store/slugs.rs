//! Slugs: what builds made. One may be released in several apps, and outlive the app that it was built for.

use ruko_api_types::{CommitRelease, Tarball};
use ruko_core::{CommitId, PushId};
use sqlx::AnyConnection;

use super::{Sql, big};
use crate::clock;

/// The slug that a push made. Its id is the push's.
pub(crate) async fn insert(
    db: &mut AnyConnection,
    app_id: &str,
    push: &PushId,
    key: &str,
    built: &CommitRelease,
    tarball: Option<&Tarball>,
) -> Sql<()> {
    let head = built.manifest.head.as_ref();
    let commit = head.map(|head| head.commit.as_str()).or_else(|| tarball.and_then(commit));
    sqlx::query(
        "INSERT INTO slugs (id, app_id, object_key, bytes, sha256, commit_id, branch, buildpack, stack, \
         created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(push.as_str())
    .bind(app_id)
    .bind(key)
    .bind(big(built.slug.bytes)?)
    .bind(built.slug.sha256.as_str())
    .bind(commit.unwrap_or_default())
    .bind(head.map_or("", |head| head.branch.as_str()))
    .bind(built.manifest.buildpack.as_str())
    .bind(built.stack.as_str())
    .bind(clock::now())
    .execute(db)
    .await
    .map(drop)
}

/// What its user calls the tarball, if that is a commit's id.
fn commit(tarball: &Tarball) -> Option<&str> {
    tarball.version.as_deref().filter(|version| version.parse::<CommitId>().is_ok())
}

/// Forgets the slugs of an app that is about to go, but for those that another app has released; gives the
/// keys of the forgotten ones' objects. To be called after the app's own releases are gone.
pub(crate) async fn forget(db: &mut AnyConnection, app_id: &str) -> Sql<Vec<String>> {
    let keys: Vec<(String,)> = sqlx::query_as(
        "DELETE FROM slugs WHERE app_id = $1 AND NOT EXISTS \
         (SELECT 1 FROM releases r WHERE r.slug_id = slugs.id) RETURNING object_key",
    )
    .bind(app_id)
    .fetch_all(db)
    .await?;
    Ok(keys.into_iter().map(|(key,)| key).collect())
}
