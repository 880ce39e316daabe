//! Pushes: the lease on an app while they are open, the build's record afterwards.

use ruko_api_types::{Build, BuildStatus, Committed, Holder, RefUpdate};
use ruko_core::{PushId, UserName};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, FromRow, Row};

use super::{Sql, big, count, parsed};
use crate::clock::{self, Millis};

/// What a [`PushRow`] needs: not the refs, which may be many and are for the record only.
macro_rules! columns {
    () => {
        "id, app_id, user_name, request_id, status, reason, repo_key, slug_key, lease_ends, answer, release, \
         output_bytes, created_at, ended_at"
    };
}

/// So many of an app's latest pushes keep their output and refs; of older ones the record alone stays.
const KEPT: u32 = 100;

/// Why a push is lost.
pub(crate) const LOST: &str = "the push's process or machine died; its lease ran out";

pub(crate) struct PushRow {
    pub(crate) id: PushId,
    pub(crate) app_id: String,
    pub(crate) user: UserName,
    /// For `REQUEST_ID` and for logs.
    pub(crate) request_id: String,
    status: BuildStatus,
    reason: Option<String>,
    pub(crate) repo_key: String,
    pub(crate) slug_key: String,
    pub(crate) lease_ends: Millis,
    answer: Option<String>,
    pub(crate) release: Option<u64>,
    pub(crate) output_bytes: u64,
    pub(crate) created_at: Millis,
    ended_at: Option<Millis>,
}

impl FromRow<'_, AnyRow> for PushRow {
    fn from_row(row: &AnyRow) -> Sql<Self> {
        Ok(Self {
            id: parsed(row.try_get("id")?)?,
            app_id: row.try_get("app_id")?,
            user: parsed(row.try_get("user_name")?)?,
            request_id: row.try_get("request_id")?,
            status: status(row.try_get("status")?)?,
            reason: row.try_get("reason")?,
            repo_key: row.try_get("repo_key")?,
            slug_key: row.try_get("slug_key")?,
            lease_ends: row.try_get("lease_ends")?,
            answer: row.try_get("answer")?,
            release: row.try_get::<Option<i64>, _>("release")?.map(count).transpose()?,
            output_bytes: count(row.try_get("output_bytes")?)?,
            created_at: row.try_get("created_at")?,
            ended_at: row.try_get("ended_at")?,
        })
    }
}

fn status(raw: String) -> Sql<BuildStatus> {
    match raw.as_str() {
        "queued" => Ok(BuildStatus::Queued),
        "pending" => Ok(BuildStatus::Pending),
        "succeeded" => Ok(BuildStatus::Succeeded),
        "failed" => Ok(BuildStatus::Failed),
        "lost" => Ok(BuildStatus::Lost),
        _ => Err(sqlx::Error::Decode(format!("`{raw}` is no status of a push").into())),
    }
}

impl PushRow {
    /// The status as the clock has it: a lease that ran out is lost, whether that was written down yet
    /// or not.
    pub(crate) fn status(&self, now: Millis) -> BuildStatus {
        match self.status {
            BuildStatus::Pending if self.lease_ends <= now => BuildStatus::Lost,
            status => status,
        }
    }

    /// When it ended, by the same rule.
    pub(crate) fn ended_at(&self, now: Millis) -> Option<Millis> {
        let ran_out = self.status == BuildStatus::Pending && self.lease_ends <= now;
        if ran_out { Some(self.lease_ends) } else { self.ended_at }
    }

    /// Whole seconds from its beginning to `now`.
    pub(crate) fn seconds(&self, now: Millis) -> u64 {
        clock::seconds_between(self.created_at, now)
    }

    pub(crate) fn holder(&self, now: Millis) -> Holder {
        Holder {
            push: self.id.clone(),
            user: self.user.clone(),
            since: clock::rfc3339(self.created_at),
            seconds: self.seconds(now),
        }
    }

    /// Why it came to nothing, by the same rule.
    pub(crate) fn reason(&self, now: Millis) -> Option<&str> {
        let lost = (self.status(now) == BuildStatus::Lost).then_some(LOST);
        self.reason.as_deref().or(lost)
    }

    pub(crate) fn build(self, now: Millis) -> Build {
        let status = self.status(now);
        let ended_at = self.ended_at(now).map(clock::rfc3339);
        let reason = self.reason(now).map(str::to_owned);
        Build {
            push: self.id,
            user: self.user,
            status,
            reason,
            release: self.release,
            created_at: clock::rfc3339(self.created_at),
            ended_at,
        }
    }

    /// What its commit was answered.
    pub(crate) fn answer(&self) -> Sql<Option<Committed>> {
        let answer = self.answer.as_deref().map(serde_json::from_str).transpose();
        answer.map_err(|e| sqlx::Error::Decode(Box::new(e)))
    }
}

/// A push that begins.
pub(crate) struct NewPush<'a> {
    pub(crate) id: &'a PushId,
    pub(crate) app_id: &'a str,
    pub(crate) user: &'a UserName,
    pub(crate) request_id: &'a str,
    pub(crate) repo_key: &'a str,
    pub(crate) slug_key: &'a str,
    pub(crate) now: Millis,
    pub(crate) lease_ends: Millis,
}

pub(crate) async fn insert(db: &mut AnyConnection, push: NewPush<'_>) -> Sql<()> {
    insert_as(db, push, "pending").await
}

/// A push that waits for a runner: it has no lease yet.
pub(crate) async fn queue(db: &mut AnyConnection, push: NewPush<'_>) -> Sql<()> {
    insert_as(db, push, "queued").await
}

async fn insert_as(db: &mut AnyConnection, push: NewPush<'_>, status: &str) -> Sql<()> {
    sqlx::query(
        "INSERT INTO pushes (id, app_id, user_name, request_id, status, repo_key, slug_key, lease_ends, \
         created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(push.id.as_str())
    .bind(push.app_id)
    .bind(push.user.as_str())
    .bind(push.request_id)
    .bind(status)
    .bind(push.repo_key)
    .bind(push.slug_key)
    .bind(push.lease_ends)
    .bind(push.now)
    .execute(db)
    .await
    .map(drop)
}

pub(crate) async fn find(db: &mut AnyConnection, id: &PushId) -> Sql<Option<PushRow>> {
    sqlx::query_as(concat!("SELECT ", columns!(), " FROM pushes WHERE id = $1"))
        .bind(id.as_str())
        .fetch_optional(db)
        .await
}

/// Gives a push that waits the lease of its app.
pub(crate) async fn open_queued(db: &mut AnyConnection, id: &PushId, lease_ends: Millis) -> Sql<()> {
    sqlx::query("UPDATE pushes SET status = 'pending', lease_ends = $1 WHERE id = $2 AND status = 'queued'")
        .bind(lease_ends)
        .bind(id.as_str())
        .execute(db)
        .await
        .map(drop)
}

/// The push that has waited longest of those whose app nobody pushes to.
pub(crate) async fn next_queued(db: &mut AnyConnection, now: Millis) -> Sql<Option<PushRow>> {
    sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM pushes WHERE status = 'queued' AND app_id NOT IN \
         (SELECT app_id FROM pushes WHERE status = 'pending' AND lease_ends > $1) ORDER BY id LIMIT 1"
    ))
    .bind(now)
    .fetch_optional(db)
    .await
}

/// Ends the pushes that have waited since before a moment. Says whether there were any.
pub(crate) async fn give_up_queued(db: &mut AnyConnection, before: Millis, reason: &str) -> Sql<bool> {
    let done = sqlx::query(
        "UPDATE pushes SET status = 'failed', reason = $1, ended_at = $2 \
         WHERE status = 'queued' AND created_at < $3",
    )
    .bind(reason)
    .bind(clock::now())
    .bind(before)
    .execute(db)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// When the first of the leases runs out for which a push waits.
pub(crate) async fn next_lease_end(db: &mut AnyConnection) -> Sql<Option<Millis>> {
    let (end,): (Option<i64>,) = sqlx::query_as(
        "SELECT MIN(lease_ends) FROM pushes WHERE status = 'pending' AND app_id IN \
         (SELECT app_id FROM pushes WHERE status = 'queued')",
    )
    .fetch_one(db)
    .await?;
    Ok(end)
}

/// How many pushes of an app wait.
pub(crate) async fn queued_of(db: &mut AnyConnection, app_id: &str) -> Sql<u64> {
    let (waiting,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM pushes WHERE app_id = $1 AND status = 'queued'")
            .bind(app_id)
            .fetch_one(db)
            .await?;
    count(waiting)
}

/// The open push of an app; its lease may have run out.
pub(crate) async fn open_one(db: &mut AnyConnection, app_id: &str) -> Sql<Option<PushRow>> {
    sqlx::query_as(concat!("SELECT ", columns!(), " FROM pushes WHERE app_id = $1 AND status = 'pending'"))
        .bind(app_id)
        .fetch_optional(db)
        .await
}

/// The open push of an app, if its lease has not run out.
pub(crate) async fn open_now(db: &mut AnyConnection, app_id: &str, now: Millis) -> Sql<Option<PushRow>> {
    Ok(open_one(db, app_id).await?.filter(|push| push.status(now) == BuildStatus::Pending))
}

/// Newest first.
pub(crate) async fn of_app(db: &mut AnyConnection, app_id: &str, limit: u32) -> Sql<Vec<PushRow>> {
    sqlx::query_as(concat!("SELECT ", columns!(), " FROM pushes WHERE app_id = $1 ORDER BY id DESC LIMIT $2"))
        .bind(app_id)
        .bind(i64::from(limit))
        .fetch_all(db)
        .await
}

/// Those after another one, oldest first.
pub(crate) async fn after(
    db: &mut AnyConnection,
    app_id: &str,
    id: Option<&PushId>,
    limit: u32,
) -> Sql<Vec<PushRow>> {
    sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM pushes WHERE app_id = $1 AND id > $2 ORDER BY id LIMIT $3"
    ))
    .bind(app_id)
    .bind(id.map_or("", PushId::as_str))
    .bind(i64::from(limit))
    .fetch_all(db)
    .await
}

/// Forgets what old pushes printed and moved. Called as each push opens, so that there is never much
/// to do.
pub(crate) async fn forget_old(db: &mut AnyConnection, app_id: &str) -> Sql<()> {
    sqlx::query(
        "DELETE FROM push_output WHERE push_id IN \
         (SELECT id FROM pushes WHERE app_id = $1 ORDER BY id DESC LIMIT $2 OFFSET $3)",
    )
    .bind(app_id)
    .bind(i64::from(KEPT))
    .bind(i64::from(KEPT))
    .execute(&mut *db)
    .await?;
    sqlx::query(
        "UPDATE pushes SET ref_updates = NULL WHERE ref_updates IS NOT NULL AND id IN \
         (SELECT id FROM pushes WHERE app_id = $1 ORDER BY id DESC LIMIT $2 OFFSET $3)",
    )
    .bind(app_id)
    .bind(i64::from(KEPT))
    .bind(i64::from(KEPT))
    .execute(db)
    .await
    .map(drop)
}

pub(crate) async fn renew(db: &mut AnyConnection, id: &PushId, lease_ends: Millis) -> Sql<()> {
    sqlx::query("UPDATE pushes SET lease_ends = $1 WHERE id = $2 AND status = 'pending'")
        .bind(lease_ends)
        .bind(id.as_str())
        .execute(db)
        .await
        .map(drop)
}

/// Writes down that the lease of an open push ran out.
pub(crate) async fn lose(db: &mut AnyConnection, push: &PushRow) -> Sql<()> {
    end(db, &push.id, "lost", LOST, push.lease_ends).await
}

/// Ends a push that waits or is open and came to nothing.
pub(crate) async fn fail(db: &mut AnyConnection, id: &PushId, reason: &str) -> Sql<()> {
    end(db, id, "failed", reason, clock::now()).await
}

/// Forgets an open push in which nothing was pushed.
pub(crate) async fn forget(db: &mut AnyConnection, id: &PushId) -> Sql<()> {
    sqlx::query("DELETE FROM pushes WHERE id = $1 AND status = 'pending'")
        .bind(id.as_str())
        .execute(db)
        .await
        .map(drop)
}

async fn end(db: &mut AnyConnection, id: &PushId, status: &str, reason: &str, at: Millis) -> Sql<()> {
    sqlx::query(
        "UPDATE pushes SET status = $1, reason = $2, ended_at = $3 WHERE id = $4 \
         AND status IN ('queued', 'pending')",
    )
    .bind(status)
    .bind(reason)
    .bind(at)
    .bind(id.as_str())
    .execute(db)
    .await
    .map(drop)
}

/// Ends an open push that was committed, with the answer that a repeated commit gets.
pub(crate) async fn succeed(
    db: &mut AnyConnection,
    id: &PushId,
    refs: &[RefUpdate],
    answer: &Committed,
) -> Sql<()> {
    let json = |e: serde_json::Error| sqlx::Error::Encode(Box::new(e));
    sqlx::query(
        "UPDATE pushes SET status = 'succeeded', ref_updates = $1, answer = $2, release = $3, ended_at = $4 \
         WHERE id = $5 AND status = 'pending'",
    )
    .bind(serde_json::to_string(refs).map_err(json)?)
    .bind(serde_json::to_string(answer).map_err(json)?)
    .bind(answer.release.map(big).transpose()?)
    .bind(clock::now())
    .bind(id.as_str())
    .execute(db)
    .await
    .map(drop)
}
