//! Where a position collection's server is and how to log in, as the driver wants it: `url`, `username`, `password`,
//! `ssl_mode`, `ssl_ca_path`. The URL is MongoDB's (MongoDB documentation, Connection Strings), read by the driver.

use dt_common::config::{Endpoint, SslMode};
use dt_common::{Error, Result};
use mongodb::options::{Acknowledgment, ClientOptions, Tls, TlsOptions, WriteConcern};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but letters, digits, and what is never special in a URL.
const SPECIAL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// One for the transactions, and some for what is asked beside.
const CONNECTIONS: u32 = 4;
/// The name under which the server lists the connections.
const APP_NAME: &str = "APE_DTS";

/// Reads an endpoint. Errors never hold the URL.
pub(crate) async fn options(endpoint: &Endpoint) -> Result<ClientOptions> {
    let bad = || {
        Error::config("the position collection's url cannot be read").hint("the form is mongodb://user:password@host:27017/?replicaSet=rs0 with user and password percent-encoded; or leave them out of the url and use the keys username and password, which are taken as they are")
    };
    let url = with_credentials(endpoint).ok_or_else(bad)?;
    let mut options = ClientOptions::parse(url.as_str()).await.map_err(|_| bad())?;
    options.tls = tls(endpoint, options.tls.take());
    options.connect_timeout = options.connect_timeout.or(Some(endpoint.connection_timeout));
    options.server_selection_timeout = options.server_selection_timeout.or(Some(endpoint.connection_timeout));
    options.max_pool_size = Some(CONNECTIONS);
    options.min_pool_size = None;
    options.app_name = options.app_name.or_else(|| Some(APP_NAME.to_owned()));
    // Positions are read where they are written.
    options.selection_criteria = None;
    options.read_concern = None;
    Ok(options)
}

/// When a write counts as done: as the URL says, but never unanswered; a majority of the members if it says nothing.
pub(crate) fn concern(options: &ClientOptions) -> WriteConcern {
    let mut concern = options.write_concern.clone().unwrap_or_default();
    if matches!(concern.w, Some(Acknowledgment::Nodes(0)) | None) {
        concern.w = Some(Acknowledgment::Majority);
    }
    concern.journal = matches!(concern.w, Some(Acknowledgment::Nodes(_))).then_some(true);
    concern
}

/// The URL with the literal user name and password in it, where there are any.
fn with_credentials(endpoint: &Endpoint) -> Option<String> {
    let url = endpoint.url.expose();
    if endpoint.username.is_none() && endpoint.password.is_none() {
        return Some(url.to_owned());
    }
    let (scheme, rest) = url.split_once("://")?;
    let (authority, behind) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let encoded = |text: &str| utf8_percent_encode(text, SPECIAL).to_string();
    let user = endpoint.username.as_deref().map_or(user.to_owned(), encoded);
    let password = endpoint.password.as_ref().map_or(password.to_owned(), |password| encoded(password.expose()));
    // The driver wants a slash in front of the parameters.
    let slash = if behind.starts_with('?') { "/" } else { "" };
    (!user.is_empty()).then(|| format!("{scheme}://{user}:{password}@{hosts}{slash}{behind}"))
}

fn tls(endpoint: &Endpoint, from_url: Option<Tls>) -> Option<Tls> {
    let enabled = |unverified: Option<bool>| {
        let mut tls = match &from_url {
            Some(Tls::Enabled(tls)) => tls.clone(),
            Some(Tls::Disabled) | None => TlsOptions::default(),
        };
        tls.allow_invalid_certificates = unverified.or(tls.allow_invalid_certificates);
        tls.ca_file_path = endpoint.ssl_ca_path.clone().or(tls.ca_file_path);
        Some(Tls::Enabled(tls))
    };
    match (endpoint.ssl_mode, &from_url) {
        (Some(SslMode::Disable), _) => Some(Tls::Disabled),
        (Some(SslMode::Require), _) => enabled(Some(true)),
        (Some(SslMode::VerifyCa | SslMode::VerifyFull), _) => enabled(Some(false)),
        (None, Some(Tls::Enabled(_))) => enabled(None),
        (None, Some(Tls::Disabled) | None) => from_url,
    }
}

#[cfg(test)]
mod tests {
    use dt_common::{DbType, Secret};

    use super::*;

    #[tokio::test]
    async fn literal_keys_win_over_the_url_and_no_write_goes_unanswered() {
        let url = "mongodb://u:p@db1:1,db2:2?replicaSet=rs0&authSource=there&w=0&readPreference=secondary";
        let mut endpoint = Endpoint::new(DbType::Mongo, Secret::new(url)).expect("an endpoint");
        endpoint.username = Some("it's;#=\"".into());
        endpoint.password = Some(Secret::new("p;w#%20:@/'\""));
        let options = options(&endpoint).await.expect("options");
        let credential = options.credential.clone().expect("a credential");
        assert_eq!(credential.username.as_deref(), Some("it's;#=\""));
        assert_eq!(credential.password.as_deref(), Some("p;w#%20:@/'\""));
        assert_eq!((options.hosts.len(), options.selection_criteria.is_none()), (2, true));
        assert_eq!(concern(&options).w, Some(Acknowledgment::Majority));
    }
}
