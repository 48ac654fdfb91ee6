//! The address and credentials of a server, from `url`, `username`, `password`, `ssl_mode` and `ssl_ca_path`.
//!
//! The URL is libpq's (PostgreSQL documentation, 34.1.1.2 Connection URIs) with one host; its parameters are read here
//! and not by the driver, which knows fewer values of `sslmode`.

mod parameters;

use std::path::PathBuf;
use std::time::Duration;

use dt_common::config::{Endpoint, SslMode};
use dt_common::{Error, Result, Secret};
use tokio_postgres::config::SslNegotiation;
use url::Url;

pub use parameters::{ChannelBinding, Parameters};

/// Where a server is and how to log in.
#[derive(Clone, Debug)]
pub struct Address {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// How the connection is secured.
    pub tls: TlsMode,
    /// A PEM file with the certificate authorities that are trusted; `None` for the public ones.
    pub ca_path: Option<PathBuf>,
    /// The URL's other parameters.
    pub parameters: Parameters,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    user: String,
    password: Secret,
}

/// How a connection is secured (`sslmode`; PostgreSQL documentation, 34.19 SSL Support).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// In the clear.
    Disable,
    /// Encrypted if the server can; the certificate is not verified.
    Prefer,
    /// Encrypted; the certificate is verified only if an authority is named, as libpq does.
    Require,
    /// Encrypted; the certificate must come from a trusted authority.
    VerifyCa,
    /// Encrypted; the certificate must come from a trusted authority and name the host.
    VerifyFull,
}

/// A dead link is noticed after about three times this long without an answer to the kernel's probes.
pub(crate) const TCP_KEEPALIVE: Duration = Duration::from_secs(20);
/// How many of them are sent.
pub(crate) const TCP_KEEPALIVE_PROBES: u32 = 3;

impl Address {
    /// Reads an endpoint; `section` (`extractor`, `sinker`) is named in errors, the URL itself never is.
    pub fn new(endpoint: &Endpoint, section: &'static str) -> Result<Self> {
        let bad = |what: &str| {
            Error::config(format!("[{section}] url: {what}"))
                .hint("the form is postgres://user:password@host:5432/database with user and password percent-encoded; or leave them out of the url and use the keys username and password, which are taken as they are")
        };
        let text = endpoint.url.expose();
        let url = Url::parse(text).map_err(|error| bad(&format!("is not a URL ({error})")))?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(bad(&format!("has the scheme `{}`, not `postgres`", url.scheme())));
        }
        // An `@` too many would be repaired in silence: whatever it was meant to be.
        let authority = text.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?']).next().unwrap_or(""));
        if authority.matches('@').count() > 1 {
            return Err(bad("holds more than one `@`"));
        }
        if authority.rsplit('@').next().is_some_and(|hosts| hosts.contains(',')) {
            return Err(bad("names several hosts: which of them is the server must not change under a task"));
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| bad("names no host"))?;
        let decode = |text: &str| {
            percent_encoding::percent_decode_str(text)
                .decode_utf8()
                .map(|text| text.into_owned())
                .map_err(|_| bad("holds something that is not UTF-8 once decoded"))
        };
        let host = decode(host)?.trim_start_matches('[').trim_end_matches(']').to_lowercase();
        if host.starts_with('/') {
            return Err(bad("names a socket directory: connections go over TCP"));
        }
        let parameters = Parameters::read(url.query_pairs()).map_err(|what| bad(&what))?;
        let user = match &endpoint.username {
            Some(user) => user.clone(),
            None => parameters.user.clone().map_or_else(|| decode(url.username()), Ok)?,
        };
        if user.is_empty() {
            return Err(bad("names no user").hint("add it to the url, or set username"));
        }
        let path = decode(url.path().trim_start_matches('/'))?;
        // libpq: the database is called as the user if nothing else is said.
        let database = parameters.database.clone().unwrap_or(if path.is_empty() { user.clone() } else { path });
        let tls = match endpoint.ssl_mode {
            Some(SslMode::Disable) => TlsMode::Disable,
            Some(SslMode::Require) => TlsMode::Require,
            Some(SslMode::VerifyCa) => TlsMode::VerifyCa,
            Some(SslMode::VerifyFull) => TlsMode::VerifyFull,
            None => parameters.tls.unwrap_or(TlsMode::Prefer),
        };
        Ok(Address {
            host,
            port: url.port().unwrap_or(5432),
            database,
            tls,
            ca_path: endpoint.ssl_ca_path.clone().or_else(|| parameters.ca_path.clone()),
            password: match (&endpoint.password, url.password(), &parameters.password) {
                (Some(password), _, _) => password.clone(),
                (None, _, Some(password)) => password.clone(),
                (None, Some(password), None) => Secret::new(decode(password)?),
                (None, None, None) => Secret::default(),
            },
            connect_timeout: parameters.connect_timeout.unwrap_or(endpoint.connection_timeout),
            parameters,
            user,
        })
    }

    /// `host:port/database`.
    pub fn place(&self) -> String {
        format!("{}:{}/{}", self.host, self.port, self.database)
    }

    /// The user's name, for messages about privileges.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password; empty if there is none.
    pub fn password(&self) -> &Secret {
        &self.password
    }

    /// The driver's configuration. It holds the password in clear: never format it.
    pub(crate) fn driver_config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host(&self.host)
            .port(self.port)
            .user(&self.user)
            .dbname(&self.database)
            .application_name(self.parameters.application_name.as_deref().unwrap_or("dt"))
            .connect_timeout(self.connect_timeout)
            .keepalives(true)
            .keepalives_idle(TCP_KEEPALIVE)
            .keepalives_interval(TCP_KEEPALIVE)
            .keepalives_retries(TCP_KEEPALIVE_PROBES)
            .ssl_negotiation(SslNegotiation::Postgres)
            .channel_binding(match self.parameters.channel_binding {
                ChannelBinding::Disable => tokio_postgres::config::ChannelBinding::Disable,
                ChannelBinding::Prefer => tokio_postgres::config::ChannelBinding::Prefer,
                ChannelBinding::Require => tokio_postgres::config::ChannelBinding::Require,
            })
            .ssl_mode(match self.tls {
                TlsMode::Disable => tokio_postgres::config::SslMode::Disable,
                TlsMode::Prefer => tokio_postgres::config::SslMode::Prefer,
                TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => tokio_postgres::config::SslMode::Require,
            });
        if !self.password.expose().is_empty() {
            config.password(self.password.expose());
        }
        if let Some(options) = &self.parameters.options {
            config.options(options);
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use dt_common::DbType;

    use super::*;

    fn address(url: &str) -> Result<Address> {
        let endpoint = Endpoint::new(DbType::Pg, Secret::new(url)).expect("an endpoint");
        Address::new(&endpoint, "extractor")
    }

    #[test]
    fn a_url_names_user_host_and_database() {
        let found = address("postgres://u%40x:p%2Fw@DB1:5433/shop%20a?sslmode=require").expect("an address");
        assert_eq!((found.user(), found.place().as_str()), ("u@x", "db1:5433/shop a"));
        assert_eq!((found.password().expose(), found.tls), ("p/w", TlsMode::Require));
        let short = address("postgresql://u@db1").expect("an address");
        assert_eq!((short.place().as_str(), short.tls), ("db1:5432/u", TlsMode::Prefer));
    }

    #[test]
    fn literal_keys_win_over_the_url() {
        let mut endpoint = Endpoint::new(DbType::Pg, Secret::new("postgres://u:p@db1/d")).expect("an endpoint");
        endpoint.username = Some("it's;#=\"".into());
        endpoint.password = Some(Secret::new("p;w#='\""));
        let found = Address::new(&endpoint, "sinker").expect("an address");
        assert_eq!((found.user(), found.password().expose()), ("it's;#=\"", "p;w#='\""));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_without_showing_the_url() {
        for url in ["postgres://u:s3cret@a,b/d", "postgres://u:s3@cret@a/d", "postgres://u:s3cret@a/d?sslmode=maybe"] {
            let error = address(url).expect_err(url).to_string();
            assert!(!error.contains("s3cret") && error.starts_with("[extractor] url"), "{error}");
        }
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        assert_eq!(address("postgres://u@[::1]:5/d").expect("an address").host, "::1");
    }
}
