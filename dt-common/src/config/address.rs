//! What a URL says about where a server is, without its credentials.

use crate::ids::DbType;

/// Why a URL cannot be used. Says nothing of what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// The scheme does not belong to the kind of database.
    #[error("must begin with {0}")]
    Scheme(&'static str),
    /// No host between credentials and path.
    #[error("names no host")]
    NoHost,
    /// The port is no number from 1 to 65535, or the credentials end the host early.
    #[error(
        "has no port number where one is expected; special characters of user name and password must be \
         percent-encoded (`#` is %23, `/` is %2F, `?` is %3F, `@` is %40, `:` is %3A), \
         or stand in `username` and `password`"
    )]
    Port,
}

/// The URLs of a list of servers: each comma before another `mysql://` parts two of them. Other kinds of databases name
/// the members of a set within one URL. Never empty; what is wrong with one of them is for [`address_of`] to say.
pub(super) fn servers(db_type: DbType, urls: &str) -> Vec<&str> {
    const BEGINS: &str = "mysql://";
    let mut found = Vec::new();
    let mut rest = urls;
    if db_type == DbType::Mysql {
        let is_next = |(at, _): &(usize, &str)| {
            let behind = rest_behind(urls, *at).trim_start();
            behind.get(..BEGINS.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(BEGINS))
        };
        for (at, _) in urls.match_indices(',').filter(is_next) {
            let begun = urls.len() - rest.len();
            found.push(urls[begun..at].trim());
            rest = rest_behind(urls, at);
        }
    }
    found.push(rest.trim());
    found
}

fn rest_behind(urls: &str, comma: usize) -> &str {
    &urls[comma + 1..]
}

/// The address of a server, in one form whatever the URL's: `mysql://db1:3306`, `pg://db1:5432/shop`.
///
/// Holds no credentials and no options and may be shown. The path is part of it where it says what is copied
/// (PostgreSQL's database, Redis' database number).
pub(super) fn address_of(db_type: DbType, url: &str) -> Result<String, BadUrl> {
    let (schemes, begins, port, has_database): (&[&str], _, _, _) = match db_type {
        DbType::Mysql => (&["mysql"], "mysql://", 3306, false),
        DbType::Pg => (&["postgres", "postgresql"], "postgres://", 5432, true),
        DbType::Mongo => (&["mongodb", "mongodb+srv"], "mongodb://", 27017, false),
        DbType::Redis => (&["redis", "rediss"], "redis://", 6379, true),
    };
    let (scheme, rest) = url.split_once("://").ok_or(BadUrl::Scheme(begins))?;
    if !schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
        return Err(BadUrl::Scheme(begins));
    }
    // A `#` never means anything in these URLs: it is part of a password that was not encoded.
    if rest.contains('#') {
        return Err(BadUrl::Port);
    }
    let (location, options) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = location.split_once('/').unwrap_or((location, ""));
    // Nor does an `@` in the path, or in front of the first option's `=`: what precedes it was meant as credentials.
    if path.contains('@') || options.split('=').next().is_some_and(|name| name.contains('@')) {
        return Err(BadUrl::Port);
    }
    let hosts = authority.rsplit_once('@').map_or(authority, |(_credentials, hosts)| hosts);
    let mut hosts: Vec<String> = hosts.split(',').map(|host| host_and_port(host, port)).collect::<Result<_, _>>()?;
    // The members of a replica set are the same set in any order.
    hosts.sort();
    let hosts = hosts.join(",");
    Ok(if has_database { format!("{db_type}://{hosts}/{path}") } else { format!("{db_type}://{hosts}") })
}

fn host_and_port(text: &str, default_port: u16) -> Result<String, BadUrl> {
    // `[::1]:3306`: the colons within the brackets are the address's own.
    let port_at = text.rfind(']').unwrap_or(0);
    let (host, port) = match text[port_at..].rfind(':') {
        Some(colon) => (&text[..port_at + colon], Some(&text[port_at + colon + 1..])),
        None => (text, None),
    };
    if host.is_empty() {
        return Err(BadUrl::NoHost);
    }
    let port = match port {
        Some(port) => port.parse::<u16>().ok().filter(|port| *port > 0).ok_or(BadUrl::Port)?,
        None => default_port,
    };
    Ok(format!("{}:{port}", host.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_no_credentials_and_no_options() {
        let address = address_of(DbType::Mysql, "mysql://root:p%40ss@DB1:3307/x?ssl-mode=disabled&a=b@c");
        assert_eq!(address.as_deref(), Ok("mysql://db1:3307"));
    }

    #[test]
    fn a_list_of_servers_is_parted_where_another_url_begins() {
        let one = "mysql://root:a,b@db1:3306?ssl-mode=disabled";
        assert_eq!(servers(DbType::Mysql, one), [one]);
        let list = format!("{one}, MySQL://db2,mysql://db3");
        assert_eq!(servers(DbType::Mysql, &list), [one, "MySQL://db2", "mysql://db3"]);
        assert_eq!(servers(DbType::Mongo, "mongodb://a,b:2/"), ["mongodb://a,b:2/"]);
        assert_eq!(servers(DbType::Mysql, "mysql://a,é"), ["mysql://a,é"]);
    }

    #[test]
    fn the_usual_port_may_be_left_out() {
        assert_eq!(address_of(DbType::Mysql, "mysql://db1"), address_of(DbType::Mysql, "mysql://db1:3306/"));
        assert_eq!(address_of(DbType::Pg, "postgresql://u@db1/shop").as_deref(), Ok("pg://db1:5432/shop"));
        assert_eq!(address_of(DbType::Mysql, "mysql://[::1]").as_deref(), Ok("mysql://[::1]:3306"));
        assert_eq!(address_of(DbType::Mysql, "mysql://u:p@[::1]:3307").as_deref(), Ok("mysql://[::1]:3307"));
    }

    #[test]
    fn members_of_a_set_are_the_same_in_any_order() {
        let one = address_of(DbType::Mongo, "mongodb://b:2,a/?replicaSet=rs0");
        assert_eq!(one.as_deref(), Ok("mongodb://a:27017,b:2".replace("mongodb", "mongo").as_str()));
    }

    #[test]
    fn a_password_that_is_not_encoded_is_refused_and_not_shown() {
        for url in [
            "mysql://root:hun#ter2@db:1",
            "mysql://root:12#3@db",
            "mysql://root:12/3@db",
            "mysql://root:12?3@db?a=b",
            "mysql://root:hun/ter@db",
        ] {
            assert_eq!(address_of(DbType::Mysql, url), Err(BadUrl::Port), "{url}");
        }
        assert_eq!(address_of(DbType::Mysql, "mysql://root:pw@"), Err(BadUrl::NoHost));
        assert_eq!(address_of(DbType::Mysql, "mysql://"), Err(BadUrl::NoHost));
    }

    #[test]
    fn the_scheme_must_be_that_of_the_database() {
        assert_eq!(address_of(DbType::Mysql, "postgres://db1"), Err(BadUrl::Scheme("mysql://")));
        assert_eq!(address_of(DbType::Pg, "db1:5432"), Err(BadUrl::Scheme("postgres://")));
    }
}
