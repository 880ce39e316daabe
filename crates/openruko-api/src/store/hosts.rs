//! What the host that runs dynos offers.

use ruko_api_types::host::{HostHello, RendezvousPlace};
use sqlx::AnyConnection;

use super::Sql;
use crate::clock;

/// The one that there is.
const NAME: &str = "host";

pub(crate) async fn put(db: &mut AnyConnection, hello: &HostHello) -> Sql<()> {
    let place = hello.rendezvous.as_ref();
    sqlx::query(
        "INSERT INTO hosts (name, rendezvous_url, certificate, said_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (name) DO UPDATE SET rendezvous_url = excluded.rendezvous_url, \
         certificate = excluded.certificate, said_at = excluded.said_at",
    )
    .bind(NAME)
    .bind(place.map(|place| place.url.as_str()))
    .bind(place.and_then(|place| place.certificate.as_deref()))
    .bind(clock::now())
    .execute(db)
    .await
    .map(drop)
}

/// Where terminals are, if it said so.
pub(crate) async fn rendezvous(db: &mut AnyConnection) -> Sql<Option<RendezvousPlace>> {
    let row: Option<(Option<String>, Option<String>)> =
        sqlx::query_as("SELECT rendezvous_url, certificate FROM hosts WHERE name = $1")
            .bind(NAME)
            .fetch_optional(db)
            .await?;
    Ok(row.and_then(|(url, certificate)| Some(RendezvousPlace { url: url?, certificate })))
}
