//! What developers' programs need: the servers that they know, their credentials, and the client of the
//! Platform API. Synchronous.
//!
//! A token goes to the server that it belongs to and nowhere else: redirections are not followed, TLS is
//! verified against the machine's certificates and the server's own `ca_file`, and plain HTTP is for
//! loopback alone.

mod api;
mod credentials;
mod error;
mod home;
mod login;
mod rendezvous;
mod servers;
mod sse;
mod token;
mod trust;
mod url;

pub use api::{Api, Page, escape};
pub use credentials::{Credential, Credentials};
pub use error::{ClientError, NoAnswer};
pub use home::Home;
pub use login::{Browser, Password, authorization_of, password_login, prove, revoke};
pub use rendezvous::Rendezvous;
pub use servers::{BadServerName, KnownServer, ServerName, Servers};
pub use sse::{Event, Events};
pub use token::{BadToken, Token};
pub use url::{BadServerUrl, ServerUrl, is_loopback};
