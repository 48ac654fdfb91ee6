//! The address and credentials of a server, from `url`, `username`, `password`, `ssl_mode`, `ssl_ca_path`, `app_name` and
//! `is_direct_connection`.
//!
//! The URL is MongoDB's (MongoDB documentation, Connection Strings), read by the driver.

use std::fmt;

use dt_common::config::{Endpoint, MongoOptions, SslMode};
use dt_common::{Error, Result};
use mongodb::options::{ClientOptions, ServerMonitoringMode, Tls, TlsOptions};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::classify;

/// The name under which the server lists the connections, if the task file says nothing.
const APP_NAME: &str = "APE_DTS";

/// MongoDB handshake specification, `client.application.name`.
const APP_NAME_BYTES_MAX: usize = 128;

/// Everything but letters, digits, and what is never special in a URL.
const SPECIAL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Where a server is and how to log in.
#[derive(Clone)]
pub struct Address {
    section: &'static str,
    place: String,
    options: ClientOptions,
    name_of_task: Option<String>,
}

/// Without the options, which hold the password.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("section", &self.section).field("place", &self.place).finish_non_exhaustive()
    }
}

impl Address {
    /// Reads an endpoint; `section` (`extractor`, `sinker`) is named in errors, the URL itself never is. A
    /// `mongodb+srv` URL is resolved here.
    pub async fn new(endpoint: &Endpoint, mongo: Option<&MongoOptions>, section: &'static str) -> Result<Self> {
        let bad = |what: String| {
            Error::config(format!("[{section}] url: {what}")).hint("the form is mongodb://user:password@host:27017,host:27017/?replicaSet=rs0&authSource=admin with user and password percent-encoded; or leave them out of the url and use the keys username and password, which are taken as they are")
        };
        let url = with_credentials(endpoint).map_err(bad)?;
        let mut options = ClientOptions::parse(url.as_str()).await.map_err(|error| match error.kind.as_ref() {
            // It says what is wrong with which parameter, and may quote it: not where it could be a password.
            mongodb::error::ErrorKind::InvalidArgument { message, .. } if !reveals(message, endpoint) => {
                bad(message.clone())
            }
            mongodb::error::ErrorKind::DnsResolve { .. } => classify(format!("[{section}] url"), &error)
                .with_class(dt_common::ErrorClass::User)
                .hint("check the host name, and that this machine's name server answers"),
            _ => bad("is not understood by the driver".to_owned()),
        })?;
        options.tls = tls(endpoint, options.tls.take(), section)?;
        options.connect_timeout = options.connect_timeout.or(Some(endpoint.connection_timeout));
        options.server_selection_timeout = options.server_selection_timeout.or(Some(endpoint.connection_timeout));
        // Asked for the server's state again and again, a link that is dead in one direction is noticed, whichever it is; what
        // the server sends by itself says nothing of the other one.
        options.server_monitoring_mode = options.server_monitoring_mode.or(Some(ServerMonitoringMode::Poll));
        // One connection for each reader or writer, and some for what is asked beside.
        let connections = u32::try_from(endpoint.max_connections).unwrap_or(u32::MAX).saturating_add(4);
        options.max_pool_size = options.max_pool_size.or(Some(connections));
        let named = mongo.map(|mongo| mongo.app_name.clone()).filter(|name| name != APP_NAME);
        options.app_name = named.or(options.app_name.take()).or_else(|| Some(APP_NAME.to_owned()));
        if let Some(direct) = mongo.and_then(|mongo| mongo.is_direct_connection) {
            if direct && options.hosts.len() > 1 {
                return Err(Error::config(format!(
                    "[{section}] is_direct_connection=true, and url names several hosts"
                ))
                .hint("name the one member that is to be spoken to"));
            }
            options.direct_connection = Some(direct);
        }
        // The driver repeats a command once by itself; we do so within the task's own budget.
        Ok(Address {
            section,
            place: endpoint.address.trim_start_matches("mongo://").to_owned(),
            options,
            name_of_task: None,
        })
    }

    /// The same, with connections that the server lists under a name which tells the task, too, if that is not too long.
    pub fn of_task(mut self, task_id: &str) -> Self {
        let name = format!("{} {task_id}", self.options.app_name.as_deref().unwrap_or(APP_NAME));
        if name.len() <= APP_NAME_BYTES_MAX {
            self.options.app_name = Some(name.clone());
            self.name_of_task = Some(name);
        }
        self
    }

    /// The name under which the server lists the connections of this task and no others.
    pub fn name_of_task(&self) -> Option<&str> {
        self.name_of_task.as_deref()
    }

    /// `host:port`, or several with commas between.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The section of the task file that it comes from.
    pub fn section(&self) -> &'static str {
        self.section
    }

    /// The driver's options. They hold the password in clear: never format them.
    pub(crate) fn options(&self) -> &ClientOptions {
        &self.options
    }

    /// The user's name for messages, if there is a login.
    pub fn user(&self) -> Option<&str> {
        self.options.credential.as_ref().and_then(|credential| credential.username.as_deref())
    }
}

/// Whether a message quotes the password.
fn reveals(message: &str, endpoint: &Endpoint) -> bool {
    let in_url = endpoint.url.expose().split_once("://").and_then(|(_, rest)| rest.rsplit_once('@'));
    let in_url = in_url.and_then(|(user, _)| user.split_once(':')).map(|(_, password)| password);
    let literal = endpoint.password.as_ref().map(|password| password.expose());
    in_url.into_iter().chain(literal).any(|secret| !secret.is_empty() && message.contains(secret))
}

/// The URL with the literal user name and password in it, where there are any.
fn with_credentials(endpoint: &Endpoint) -> std::result::Result<String, String> {
    let url = endpoint.url.expose();
    if endpoint.username.is_none() && endpoint.password.is_none() {
        return Ok(url.to_owned());
    }
    let (scheme, rest) = url.split_once("://").ok_or("is no URL")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at(end);
    let (login, hosts) = match authority.rsplit_once('@') {
        Some((login, hosts)) => (Some(login), hosts),
        None => (None, authority),
    };
    let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
        Some((user, password)) => (user.to_owned(), password.to_owned()),
        None => (String::new(), String::new()),
    };
    let encoded = |text: &str| utf8_percent_encode(text, SPECIAL).to_string();
    let user = endpoint.username.as_deref().map_or(user, encoded);
    let password = endpoint.password.as_ref().map_or(password, |password| encoded(password.expose()));
    if user.is_empty() {
        return Err("names no user, and there is a password: set username".to_owned());
    }
    // The driver wants a slash in front of the parameters.
    let slash = if behind.starts_with('?') { "/" } else { "" };
    Ok(format!("{scheme}://{user}:{password}@{hosts}{slash}{behind}"))
}

fn tls(endpoint: &Endpoint, from_url: Option<Tls>, section: &'static str) -> Result<Option<Tls>> {
    let enabled = |unverified: Option<bool>| {
        let mut tls = match &from_url {
            Some(Tls::Enabled(tls)) => tls.clone(),
            Some(Tls::Disabled) | None => TlsOptions::default(),
        };
        tls.allow_invalid_certificates = unverified.or(tls.allow_invalid_certificates);
        tls.ca_file_path = endpoint.ssl_ca_path.clone().or(tls.ca_file_path);
        Some(Tls::Enabled(tls))
    };
    match endpoint.ssl_mode {
        Some(SslMode::Disable) => Ok(Some(Tls::Disabled)),
        Some(SslMode::Require) => Ok(enabled(Some(true))),
        Some(SslMode::VerifyFull) => Ok(enabled(Some(false))),
        Some(SslMode::VerifyCa) => {
            Err(Error::config(format!("[{section}] ssl_mode=verify_ca is not available for MongoDB"))
                .hint("verify_full also checks that the certificate names the host; require checks nothing"))
        }
        None => match &from_url {
            Some(Tls::Enabled(_)) => Ok(enabled(None)),
            Some(Tls::Disabled) | None if endpoint.ssl_ca_path.is_some() => {
                Err(Error::config(format!("[{section}] ssl_ca_path is set, and the connection is not encrypted"))
                    .hint("set ssl_mode=verify_full, or tls=true in the url"))
            }
            Some(Tls::Disabled) | None => Ok(from_url),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dt_common::{DbType, Secret};

    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::new(DbType::Mongo, Secret::new(url)).expect("an endpoint")
    }

    #[tokio::test]
    async fn literal_keys_win_over_the_url_and_keep_its_other_parts() {
        let mut endpoint = endpoint("mongodb://u:p@db1:1,db2:2?replicaSet=rs0&authSource=there");
        endpoint.username = Some("it's;#=\"".into());
        endpoint.password = Some(Secret::new("p;w#%20:@/'\""));
        let address = Address::new(&endpoint, None, "sinker").await.expect("an address");
        let credential = address.options().credential.clone().expect("a credential");
        assert_eq!(credential.username.as_deref(), Some("it's;#=\""));
        assert_eq!(credential.password.as_deref(), Some("p;w#%20:@/'\""));
        assert_eq!(credential.source.as_deref(), Some("there"));
        assert_eq!((address.place(), address.options().repl_set_name.as_deref()), ("db1:1,db2:2", Some("rs0")));
        assert!(!format!("{address:?}").contains("p;w"));
    }

    #[tokio::test]
    async fn what_cannot_be_meant_is_refused_without_showing_the_url() {
        for url in [
            "mongodb://u:s3cret@a/?w=x%ZZ&tls=maybe",
            "mongodb://u:s3cret@a/?w=-1",
            "mongodb://u:s3cret@a,b/?directConnection=true",
        ] {
            let error = Address::new(&endpoint(url), None, "extractor").await.expect_err(url).to_string();
            assert!(!error.contains("s3cret") && error.starts_with("[extractor] url"), "{error}");
        }
    }

    #[tokio::test]
    async fn names_time_limits_and_directness_come_from_the_keys() {
        let mongo = MongoOptions { app_name: "mine".into(), is_direct_connection: Some(true) };
        let address = Address::new(&endpoint("mongodb://a"), Some(&mongo), "extractor").await.expect("an address");
        assert_eq!(address.options().app_name.as_deref(), Some("mine"));
        assert_eq!(address.options().direct_connection, Some(true));
        assert_eq!(address.options().server_selection_timeout, Some(Duration::from_secs(15)));
        let other = Address::new(&endpoint("mongodb://a/?appName=url"), None, "sinker").await.expect("an address");
        assert_eq!(other.options().app_name.as_deref(), Some("url"));
    }
}
