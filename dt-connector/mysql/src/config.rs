//! The address and credentials of a server, from `url`, `username`, `password`, `ssl_mode` and `ssl_ca_path`.

use std::path::PathBuf;
use std::time::Duration;

use dt_common::config::{Endpoint, SslMode};
use dt_common::{Error, Result, Secret};
use mysql_async::{Opts, OptsBuilder, SslOpts};
use url::Url;

/// Where a server is and how to log in.
#[derive(Clone, Debug)]
pub struct Address {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    user: String,
    password: Secret,
    ssl_mode: SslMode,
    ssl_ca_path: Option<PathBuf>,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
}

/// The driver would otherwise refuse a row that is larger than the server's `max_allowed_packet`, which bounds what
/// the server takes and not what it sends. This is the largest that the variable can be.
const PACKET_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// A dead link is noticed after about this long without an answer to the kernel's probes.
const TCP_KEEPALIVE: Duration = Duration::from_secs(20);

impl Address {
    /// Reads an endpoint; `section` (`extractor`, `sinker`) is named in errors, the URL itself never is.
    pub fn new(endpoint: &Endpoint, section: &'static str) -> Result<Self> {
        let bad = |what: &str| {
            Error::config(format!("[{section}] url: {what}"))
                .hint("the form is mysql://user:password@host:3306 with user and password percent-encoded; or leave them out of the url and use the keys username and password, which are taken as they are")
        };
        let text = endpoint.url.expose();
        let url = Url::parse(text).map_err(|error| bad(&format!("is not a URL ({error})")))?;
        if url.scheme() != "mysql" {
            return Err(bad(&format!("has the scheme `{}`, not `mysql`", url.scheme())));
        }
        // `mysql://root:a@b@host` would be repaired in silence: whatever an `@` too many was meant to be.
        let authority = text.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?']).next().unwrap_or(""));
        if authority.matches('@').count() > 1 {
            return Err(bad("holds more than one `@`"));
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| bad("names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let decode = |text: &str| {
            percent_encoding::percent_decode_str(text)
                .decode_utf8()
                .map(|text| text.into_owned())
                .map_err(|_| bad("holds credentials that are not UTF-8 once decoded"))
        };
        let mut ssl_mode = None;
        for (key, value) in url.query_pairs() {
            match (key.to_ascii_lowercase().as_str(), value.to_ascii_lowercase().as_str()) {
                ("ssl-mode" | "ssl_mode", "disabled" | "disable") => ssl_mode = Some(SslMode::Disable),
                ("ssl-mode" | "ssl_mode", "required" | "require") => ssl_mode = Some(SslMode::Require),
                ("ssl-mode" | "ssl_mode", "verify_ca") => ssl_mode = Some(SslMode::VerifyCa),
                ("ssl-mode" | "ssl_mode", "verify_identity" | "verify_full") => ssl_mode = Some(SslMode::VerifyFull),
                // The field's clients take this word; without a server's word on TLS it means what it says: none needed.
                ("ssl-mode" | "ssl_mode", "preferred") => ssl_mode = Some(SslMode::Disable),
                ("ssl-mode" | "ssl_mode", other) => return Err(bad(&format!("ssl-mode={other} is not known"))),
                (other, _) => return Err(bad(&format!("the parameter `{other}` is not known (ssl-mode is)"))),
            }
        }
        Ok(Address {
            host,
            port: url.port().unwrap_or(3306),
            user: match &endpoint.username {
                Some(user) => user.clone(),
                None => decode(url.username())?,
            },
            password: match (&endpoint.password, url.password()) {
                (Some(password), _) => password.clone(),
                (None, Some(password)) => Secret::new(decode(password)?),
                (None, None) => Secret::default(),
            },
            ssl_mode: endpoint.ssl_mode.or(ssl_mode).unwrap_or(SslMode::Disable),
            ssl_ca_path: endpoint.ssl_ca_path.clone(),
            connect_timeout: endpoint.connection_timeout,
        })
    }

    /// `host:port`.
    pub fn host_port(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The user's name, for messages about privileges.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The driver's options. They hold the password in clear and print it: never format them.
    pub(crate) fn driver_options(&self) -> Opts {
        OptsBuilder::default()
            .ip_or_hostname(self.host.clone())
            .tcp_port(self.port)
            .user(Some(self.user.clone()))
            .pass(Some(self.password.expose().to_owned()))
            // Otherwise a loopback address is left for the server's socket file, past any proxy.
            .prefer_socket(false)
            .tcp_keepalive(Some(TCP_KEEPALIVE))
            .tcp_nodelay(true)
            .max_allowed_packet(Some(PACKET_BYTES_MAX))
            .stmt_cache_size(0)
            .ssl_opts(self.tls())
            .into()
    }

    fn tls(&self) -> Option<SslOpts> {
        let options = SslOpts::default();
        let options = match &self.ssl_ca_path {
            Some(path) => options.with_root_certs(vec![path.clone().into()]),
            None => options,
        };
        match self.ssl_mode {
            SslMode::Disable => None,
            SslMode::Require => {
                Some(options.with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true))
            }
            SslMode::VerifyCa => Some(options.with_danger_skip_domain_validation(true)),
            SslMode::VerifyFull => Some(options),
        }
    }
}
