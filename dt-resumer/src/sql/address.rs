//! Where a position table's server is and how to log in: `url`, `username`, `password`, `ssl_mode`, `ssl_ca_path`.

use std::path::PathBuf;
use std::time::Duration;

use dt_common::config::{Endpoint, SslMode};
use dt_common::{Error, Result, Secret};
use url::Url;

use super::dialect::Dialect;

/// Where a server is and how to log in. The URL is not kept.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: Secret,
    /// PostgreSQL's database.
    #[cfg(feature = "postgres")]
    pub(crate) database: String,
    pub(crate) tls: Tls,
    pub(crate) ca_path: Option<PathBuf>,
    pub(crate) connect_timeout: Duration,
}

/// How a connection is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    Disable,
    /// Encrypted if the server can. PostgreSQL's default, as libpq's; MySQL's is [`Tls::Disable`].
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl Address {
    /// Reads an endpoint. Errors never hold the URL.
    pub(crate) fn new(endpoint: &Endpoint, dialect: Dialect) -> Result<Address> {
        let (form, schemes, port): (_, &[&str], _) = match dialect {
            Dialect::Mysql => ("mysql://user:password@host:3306", &["mysql"], 3306),
            Dialect::Postgres => ("postgres://user:password@host:5432/database", &["postgres", "postgresql"], 5432),
        };
        let bad = |what: &str| {
            Error::config(format!("the position table's url {what}")).hint(format!(
                "the form is {form} with user and password percent-encoded; or leave them out of the url and use the keys \
                 username and password, which are taken as they are"
            ))
        };
        let text = endpoint.url.expose();
        let url = Url::parse(text).map_err(|error| bad(&format!("is not a URL ({error})")))?;
        if !schemes.contains(&url.scheme()) {
            return Err(bad(&format!("must begin with {}://", schemes[0])));
        }
        let authority = text.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?']).next().unwrap_or(""));
        // Whatever an `@` too many was meant to be: it is not repaired in silence.
        if authority.matches('@').count() > 1 {
            return Err(bad("holds more than one `@`"));
        }
        if authority.rsplit('@').next().is_some_and(|hosts| hosts.contains(',')) {
            return Err(bad("names several hosts"));
        }
        let decode = |text: &str| {
            let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
            decoded.map(|text| text.into_owned()).map_err(|_| bad("holds something that is not UTF-8 once decoded"))
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| bad("names no host"))?;
        let host = decode(host)?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let (tls, ca_path) = parameters(&url, dialect).map_err(|what| bad(&what))?;
        let user = match &endpoint.username {
            Some(user) => user.clone(),
            None => decode(url.username())?,
        };
        if user.is_empty() {
            return Err(bad("names no user"));
        }
        #[cfg(feature = "postgres")]
        let database = decode(url.path().trim_start_matches('/'))?;
        Ok(Address {
            host,
            port: url.port().unwrap_or(port),
            #[cfg(feature = "postgres")]
            // libpq: the database is called as the user if nothing else is said.
            database: if database.is_empty() { user.clone() } else { database },
            user,
            password: match (&endpoint.password, url.password()) {
                (Some(password), _) => password.clone(),
                (None, Some(password)) => Secret::new(decode(password)?),
                (None, None) => Secret::default(),
            },
            tls: match (endpoint.ssl_mode, tls, dialect) {
                (Some(SslMode::Disable), _, _) => Tls::Disable,
                (Some(SslMode::Require), _, _) => Tls::Require,
                (Some(SslMode::VerifyCa), _, _) => Tls::VerifyCa,
                (Some(SslMode::VerifyFull), _, _) => Tls::VerifyFull,
                (None, Some(tls), _) => tls,
                (None, None, Dialect::Mysql) => Tls::Disable,
                (None, None, Dialect::Postgres) => Tls::Prefer,
            },
            ca_path: endpoint.ssl_ca_path.clone().or(ca_path),
            connect_timeout: endpoint.connection_timeout,
        })
    }

    /// `host:port`.
    pub(crate) fn host_port(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

fn parameters(url: &Url, dialect: Dialect) -> Result<(Option<Tls>, Option<PathBuf>), String> {
    let (mut tls, mut ca_path) = (None, None);
    for (name, value) in url.query_pairs() {
        match (dialect, name.to_ascii_lowercase().as_str()) {
            (Dialect::Mysql, "ssl-mode" | "ssl_mode") => {
                tls = Some(match value.to_ascii_lowercase().as_str() {
                    "disabled" | "disable" | "preferred" => Tls::Disable,
                    "required" | "require" => Tls::Require,
                    "verify_ca" => Tls::VerifyCa,
                    "verify_identity" | "verify_full" => Tls::VerifyFull,
                    other => return Err(format!("says ssl-mode={other}, which is not known")),
                });
            }
            (Dialect::Postgres, "sslmode") => {
                tls = Some(match value.as_ref() {
                    "disable" => Tls::Disable,
                    "allow" | "prefer" => Tls::Prefer,
                    "require" => Tls::Require,
                    "verify-ca" => Tls::VerifyCa,
                    "verify-full" => Tls::VerifyFull,
                    other => return Err(format!("says sslmode={other}, which is not known")),
                });
            }
            (Dialect::Postgres, "sslrootcert") => ca_path = Some(PathBuf::from(value.as_ref())),
            (_, other) => return Err(format!("holds the parameter `{other}`, which is not known here")),
        }
    }
    Ok((tls, ca_path))
}

#[cfg(test)]
mod tests {
    use dt_common::DbType;

    use super::*;

    fn address(db_type: DbType, url: &str) -> Result<Address> {
        let endpoint = Endpoint::new(db_type, Secret::new(url)).expect("an endpoint");
        Address::new(&endpoint, Dialect::of(db_type).expect("a dialect"))
    }

    #[test]
    fn a_url_names_user_host_and_database() {
        let found =
            address(DbType::Pg, "postgres://u%40x:p%2Fw@db1:5433/shop%20a?sslmode=require").expect("an address");
        assert_eq!((found.user.as_str(), found.password.expose(), found.tls), ("u@x", "p/w", Tls::Require));
        assert_eq!(found.host_port(), "db1:5433");
        #[cfg(feature = "postgres")]
        assert_eq!(found.database, "shop a");
        let found = address(DbType::Mysql, "mysql://u@[::1]").expect("an address");
        assert_eq!((found.host.as_str(), found.port, found.tls), ("::1", 3306, Tls::Disable));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_without_showing_the_url() {
        for (db_type, url) in [
            (DbType::Pg, "postgres://u:s3cret@a,b/d"),
            (DbType::Pg, "postgres://u:s3@cret@a/d"),
            (DbType::Pg, "postgres://u:s3cret@a/d?sslcert=x"),
            (DbType::Mysql, "mysql://u:s3cret@a?ssl-mode=maybe"),
            (DbType::Mysql, "mysql://a"),
        ] {
            let error = address(db_type, url).expect_err(url).to_string();
            assert!(!error.contains("s3cret") && error.starts_with("the position table's url"), "{error}");
        }
    }
}
