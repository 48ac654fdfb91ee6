//! How a server is reached and logged in to: the keys that `[extractor]` and `[sinker]` share.

use std::path::PathBuf;
use std::time::Duration;

use super::address::{BadUrl, address_of, servers};
use super::keys::{Key, keys};
use super::reader::{Choice, Reader};
use crate::ids::DbType;
use crate::secret::Secret;

keys! { KEYS:
    DB_TYPE = Key::required("db_type", "`mysql` (MariaDB too), `pg`, `mongo` or `redis`.");
    URL = Key::required("url", "Where the server is: `mysql://user:password@host:port`, `postgres://…/database`, \
        `mongodb://…`, `redis://…`. Special characters of user name and password are percent-encoded.");
    USERNAME = Key::unset("username", "The user name, taken literally; wins over the one in `url`.");
    PASSWORD = Key::unset("password", "The password, taken literally; wins over the one in `url`.");
    SSL_MODE = Key::unset("ssl_mode", "`disable`, `require`, `verify_ca` or `verify_full`; unset: what `url` says.");
    SSL_CA_PATH = Key::unset("ssl_ca_path", "A PEM file with the certificate authorities that are trusted.");
    MAX_CONNECTIONS = Key::value("max_connections", "10", "Connections that are open at the same time, at most.");
    CONNECTION_TIMEOUT_SECS = Key::value("connection_timeout_secs", "15", "How long one attempt to connect may take.");
}

/// A server, and how to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The kind of server.
    pub db_type: DbType,
    /// The URL as the user wrote it, credentials percent-encoded.
    pub url: Secret,
    /// Scheme, hosts and ports of the URL in one form, without credentials and options; may be shown.
    pub address: String,
    /// The user name, literally; wins over the URL's.
    pub username: Option<String>,
    /// The password, literally; wins over the URL's.
    pub password: Option<Secret>,
    /// How the connection is secured; `None` leaves it to the URL.
    pub ssl_mode: Option<SslMode>,
    /// A PEM file with the certificate authorities that are trusted.
    pub ssl_ca_path: Option<PathBuf>,
    /// Connections open at the same time, at most; at least 1.
    pub max_connections: usize,
    /// How long one attempt to connect may take.
    pub connection_timeout: Duration,
}

/// How a connection is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// In the clear.
    Disable,
    /// Encrypted; the server's certificate is not verified.
    Require,
    /// Encrypted; the certificate must come from a trusted authority.
    VerifyCa,
    /// Encrypted; the certificate must come from a trusted authority and name the host.
    VerifyFull,
}

impl Endpoint {
    /// A server by its URL alone, everything else as by default. The error says nothing of what is in the URL.
    pub fn new(db_type: DbType, url: Secret) -> Result<Self, BadUrl> {
        let address = address_of(db_type, url.expose())?;
        Ok(Endpoint {
            db_type,
            url,
            address,
            username: None,
            password: None,
            ssl_mode: None,
            ssl_ca_path: None,
            max_connections: 10,
            connection_timeout: Duration::from_secs(15),
        })
    }

    /// The one server of a section that takes one.
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (endpoint, others) = Endpoint::read_all(reader)?;
        if !others.is_empty() {
            reader.problem_of(&URL, "names several servers: only a change stream can fail over from one to another");
            return None;
        }
        Some(endpoint)
    }

    /// The first server of a section, and the others of its list, which differ in their URLs only.
    pub(super) fn read_all(reader: &mut Reader<'_>) -> Option<(Self, Vec<Self>)> {
        let db_type = db_type(reader);
        let urls = reader.text(&URL);
        let username = reader.text(&USERNAME).map(str::to_owned);
        let password = reader.text(&PASSWORD).map(Secret::new);
        let ssl_mode = reader.choice(
            &SSL_MODE,
            &[
                ("disable", Choice::Is(SslMode::Disable)),
                ("require", Choice::Is(SslMode::Require)),
                ("verify_ca", Choice::Is(SslMode::VerifyCa)),
                ("verify_full", Choice::Is(SslMode::VerifyFull)),
            ],
        );
        let ssl_ca_path = reader.text(&SSL_CA_PATH).map(PathBuf::from);
        let max_connections = reader.count(&MAX_CONNECTIONS, 1..=100_000);
        let connection_timeout = reader.seconds(&CONNECTION_TIMEOUT_SECS, 1);
        let db_type = db_type?;
        let mut endpoints = Vec::new();
        for url in servers(db_type, urls?) {
            match Endpoint::new(db_type, Secret::new(url)) {
                Ok(plain) => endpoints.push(Endpoint {
                    username: username.clone(),
                    password: password.clone(),
                    ssl_mode,
                    ssl_ca_path: ssl_ca_path.clone(),
                    max_connections,
                    connection_timeout,
                    ..plain
                }),
                Err(bad) => {
                    reader.problem_of(&URL, &bad.to_string());
                    return None;
                }
            }
        }
        let mut endpoints = endpoints.into_iter();
        let first = endpoints.next()?;
        Some((first, endpoints.collect()))
    }
}

fn db_type(reader: &mut Reader<'_>) -> Option<DbType> {
    reader.choice(
        &DB_TYPE,
        &[DbType::Mysql, DbType::Pg, DbType::Mongo, DbType::Redis].map(|known| (known.as_str(), Choice::Is(known))),
    )
}
