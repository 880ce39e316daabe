//! A transaction that writes, and the news of its end.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sqlx::{Any, AnyConnection, Transaction};
use tokio::sync::Notify;

use super::Sql;

/// A transaction that holds the write lock. Dropped, it is rolled back. Whoever waits for changes hears of every
/// commit, so that no change can be made without a word: see [`super::Store::changed`].
pub(crate) struct Write {
    inner: Transaction<'static, Any>,
    changed: Arc<Notify>,
}

impl Write {
    pub(super) fn new(inner: Transaction<'static, Any>, changed: Arc<Notify>) -> Self {
        Self { inner, changed }
    }

    /// What was written stands, and everybody is told that something was.
    pub(crate) async fn commit(self) -> Sql<()> {
        self.inner.commit().await?;
        self.changed.notify_waiters();
        Ok(())
    }
}

impl Deref for Write {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.inner
    }
}

impl DerefMut for Write {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }
}
