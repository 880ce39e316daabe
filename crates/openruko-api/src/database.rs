//! Which database: a file for SQLite, or a PostgreSQL server.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::any::AnyConnectOptions;

/// What a URL of PostgreSQL may say after `?`. `sqlx` would leave out others with a warning that shows
/// their values.
const PARAMETERS: [&str; 8] =
    ["host", "port", "user", "dbname", "sslmode", "sslrootcert", "sslcert", "sslkey"];

/// A database, as its URL names it. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// The absolute path of a file, such that it can stand in a URL as it is.
    Sqlite(PathBuf),
    /// A server.
    Postgres(PostgresUrl),
}

/// `postgres://[USER@]HOST[:PORT]/NAME[?PARAMETER=…]` or `postgres:///NAME?host=/SOCKET/DIRECTORY`, as
/// PostgreSQL's own programs read it, without a password:
/// <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS>.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresUrl(String);

/// Why a text names no database. It does not show the text, in which there may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDatabase {
    /// Neither form.
    #[error(
        "is neither of the form sqlite:///absolute/path.db nor of the form \
         postgres://user@host/name"
    )]
    Form,
    /// Configurations and command lines can be read by others.
    #[error(
        "contains a password; a file of mode 0600 is the place for it, named by database_password_file, by \
         copy-database's options or by PGPASSFILE in the environment"
    )]
    Password,
    /// It would have no effect.
    #[error(
        "has a parameter that is not known here; host, port, user, dbname, sslmode, sslrootcert, \
         sslcert and sslkey are"
    )]
    Parameter,
}

impl FromStr for Database {
    type Err = BadDatabase;

    fn from_str(raw: &str) -> Result<Self, BadDatabase> {
        if let Some(path) = plain_path(raw, "sqlite://") {
            return Ok(Self::Sqlite(path.into()));
        }
        if raw.starts_with("postgres://") || raw.starts_with("postgresql://") {
            return PostgresUrl::try_from(raw).map(Self::Postgres);
        }
        Err(BadDatabase::Form)
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(url) => f.write_str(&url.0),
        }
    }
}

impl TryFrom<&str> for PostgresUrl {
    type Error = BadDatabase;

    fn try_from(raw: &str) -> Result<Self, BadDatabase> {
        let mut options: AnyConnectOptions = raw.parse().map_err(|_| BadDatabase::Form)?;
        let url = &mut options.database_url;
        if url.password().is_some() || url.query_pairs().any(|(key, _)| key == "password") {
            return Err(BadDatabase::Password);
        }
        if url.fragment().is_some() {
            return Err(BadDatabase::Form);
        }
        if url.query_pairs().any(|(key, _)| !PARAMETERS.contains(&key.as_ref())) {
            return Err(BadDatabase::Parameter);
        }
        let named = |wanted: &str| url.query_pairs().find(|(key, _)| key == wanted).map(|(_, value)| value);
        let host = named("host").map(String::from).or_else(|| url.host_str().map(str::to_owned));
        if named("sslmode").is_none() && host.is_some_and(|host| is_remote(&host)) {
            url.query_pairs_mut().append_pair("sslmode", "verify-full");
        }
        Ok(Self(options.database_url.to_string()))
    }
}

/// Whether a server there is reached over a network. What crosses one is encrypted and the server's
/// certificate verified, unless the URL says otherwise.
fn is_remote(host: &str) -> bool {
    let socket = host.is_empty() || host.starts_with('/') || host.to_ascii_lowercase().starts_with("%2f");
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = host == "localhost" || address.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    !socket && !loopback
}

impl PostgresUrl {
    /// How to connect, with a password from a file where there is one.
    pub(crate) fn options(&self, password: Option<&str>) -> Result<AnyConnectOptions, sqlx::Error> {
        let mut options: AnyConnectOptions = self.0.parse()?;
        if let Some(password) = password {
            options.database_url.query_pairs_mut().append_pair("password", password);
        }
        Ok(options)
    }
}

/// An absolute path that can stand in a URL as it is.
pub(crate) fn plain_path<'a>(url: &'a str, scheme: &str) -> Option<&'a str> {
    let path = url.strip_prefix(scheme)?;
    let plain = |b: u8| b.is_ascii_graphic() && !b"?#%\\".contains(&b);
    (path.len() > 1 && path.starts_with('/') && path.bytes().all(plain)).then_some(path)
}

/// How the file of a SQLite database is opened. It is there already.
pub(crate) fn sqlite_options(path: &Path) -> Result<AnyConnectOptions, sqlx::Error> {
    format!("sqlite://{}?mode=rw", path.display()).parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(raw: &str) -> String {
        raw.parse::<Database>().unwrap().to_string()
    }

    #[test]
    fn both_databases_are_known_by_their_scheme() {
        assert_eq!("sqlite:///srv/api.db".parse(), Ok(Database::Sqlite("/srv/api.db".into())));
        for url in [
            "postgres:///openruko?host=/run/postgresql",
            "postgresql://ruko@localhost/openruko",
            "postgres://ruko@127.0.0.1:5433/openruko",
            "postgres://[::1]/openruko",
            "postgres://%2Frun%2Fpostgresql/openruko",
            "postgres://db.example.com/openruko?sslmode=require",
        ] {
            assert_eq!(shown(url), url);
        }
        for bad in
            ["", "api.db", "sqlite://api.db", "sqlite:///a?mode=memory", "mysql://x/y", "postgres://a b/c"]
        {
            assert_eq!(bad.parse::<Database>(), Err(BadDatabase::Form), "{bad}");
        }
    }

    #[test]
    fn what_crosses_a_network_is_encrypted_unless_the_url_says_otherwise() {
        for host in ["db.example.com", "10.0.0.7", "[fd00::1]"] {
            let url = format!("postgres://ruko@{host}/openruko");
            assert_eq!(shown(&url), format!("{url}?sslmode=verify-full"));
        }
        assert_eq!(
            shown("postgres:///openruko?host=db.example.com"),
            "postgres:///openruko?host=db.example.com&sslmode=verify-full"
        );
    }

    #[test]
    fn a_url_with_a_password_is_refused_without_showing_it() {
        for url in ["postgres://ruko:hunter2@localhost/x", "postgres://localhost/x?password=hunter2"] {
            let refused = url.parse::<Database>().unwrap_err();
            assert_eq!(refused, BadDatabase::Password);
            assert!(!format!("{refused} {refused:?}").contains("hunter2"));
        }
        assert_eq!("postgres://localhost/x?passwrd=hunter2".parse::<Database>(), Err(BadDatabase::Parameter));
    }

    #[test]
    fn a_password_of_any_characters_reaches_the_server_alone() {
        let Database::Postgres(url) = "postgres:///x?host=/run".parse().unwrap() else { panic!("it is one") };
        let options = url.options(Some("a&b=c%20 ü")).unwrap();
        let last = options.database_url.query_pairs().last().unwrap();
        assert_eq!((last.0.as_ref(), last.1.as_ref()), ("password", "a&b=c%20 ü"));
        assert!(!url.0.contains("a&b"));
    }
}
