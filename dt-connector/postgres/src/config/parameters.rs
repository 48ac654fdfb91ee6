//! The parameters of a URL, libpq's names (PostgreSQL documentation, 34.1.2 Parameter Key Words).
//!
//! What would have no effect, or another one than libpq's, is refused by name.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use dt_common::Secret;

use super::TlsMode;

/// What the part behind the `?` of a URL says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// `user`
    pub user: Option<String>,
    /// `password`
    pub password: Option<Secret>,
    /// `dbname`
    pub database: Option<String>,
    /// `sslmode`
    pub tls: Option<TlsMode>,
    /// `sslrootcert`; `system` is none, for the public authorities are what an absent file means.
    pub ca_path: Option<PathBuf>,
    /// `sslcert`: the client's certificate, PEM.
    pub certificate_path: Option<PathBuf>,
    /// `sslkey`: its key, PEM.
    pub key_path: Option<PathBuf>,
    /// `connect_timeout`
    pub connect_timeout: Option<Duration>,
    /// `application_name`
    pub application_name: Option<String>,
    /// `channel_binding`
    pub channel_binding: ChannelBinding,
    /// `options` and `options[name]=value`, as the server takes them.
    pub options: Option<String>,
}

/// Whether SCRAM is bound to the TLS connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// Where both sides can.
    #[default]
    Prefer,
    /// Or the connection is given up.
    Require,
}

impl Parameters {
    /// Reads the pairs; the error says what is wrong, without values that may be secret.
    pub fn read<'a>(pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>) -> Result<Self, String> {
        let mut found = Parameters::default();
        let mut options: Vec<String> = Vec::new();
        for (name, value) in pairs {
            let value = value.into_owned();
            let choice = || format!("the parameter `{name}` cannot be `{value}`");
            match name.as_ref() {
                "user" => found.user = Some(value),
                "password" => found.password = Some(Secret::new(value)),
                "dbname" => found.database = Some(value),
                "sslmode" | "ssl-mode" | "ssl_mode" => {
                    found.tls = Some(match value.to_ascii_lowercase().replace('_', "-").as_str() {
                        "disable" | "disabled" => TlsMode::Disable,
                        "allow" | "prefer" | "preferred" => TlsMode::Prefer,
                        "require" | "required" => TlsMode::Require,
                        "verify-ca" => TlsMode::VerifyCa,
                        "verify-full" | "verify-identity" => TlsMode::VerifyFull,
                        _ => return Err(choice()),
                    });
                }
                "sslrootcert" => found.ca_path = (value != "system").then(|| value.into()),
                "sslcert" => found.certificate_path = Some(value.into()),
                "sslkey" => found.key_path = Some(value.into()),
                "connect_timeout" => {
                    let seconds = value.parse::<u64>().map_err(|_| choice())?;
                    // libpq: zero waits for ever; ours stays the one of the configuration.
                    found.connect_timeout = (seconds > 0).then(|| Duration::from_secs(seconds));
                }
                "application_name" | "fallback_application_name" => found.application_name = Some(value),
                "channel_binding" => {
                    found.channel_binding = match value.as_str() {
                        "disable" => ChannelBinding::Disable,
                        "prefer" => ChannelBinding::Prefer,
                        "require" => ChannelBinding::Require,
                        _ => return Err(choice()),
                    };
                }
                "options" => options.push(value),
                // Harmless: what they ask for is so anyway.
                "client_encoding" if value.eq_ignore_ascii_case("utf8") || value == "auto" => {}
                "target_session_attrs" if value == "any" => {}
                "gssencmode" if value == "disable" || value == "prefer" => {}
                "keepalives" if value == "1" => {}
                other => match other.strip_prefix("options[").and_then(|rest| rest.strip_suffix(']')) {
                    Some(setting) if is_setting(setting) => options.push(format!("-c {setting}={}", escaped(&value))),
                    _ => {
                        return Err(format!(
                            "the parameter `{name}` is not supported, or not with that value (sslmode, sslrootcert, sslcert, sslkey, connect_timeout, application_name, channel_binding, options are)"
                        ));
                    }
                },
            }
        }
        found.options = (!options.is_empty()).then(|| options.join(" "));
        Ok(found)
    }

    /// Whether the user has set this session setting through `options`: a time limit of theirs is kept.
    pub fn sets(&self, setting: &str) -> bool {
        let options = self.options.as_deref().unwrap_or_default();
        options
            .split(|c: char| c.is_whitespace())
            .filter_map(|word| word.split_once('='))
            .any(|(name, _)| name.trim_start_matches("-c").trim_start_matches("--").replace('-', "_") == setting)
    }
}

fn is_setting(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
}

/// A value within the server's command-line options: spaces and back-slashes are escaped by a back-slash.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace(' ', "\\ ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Parameters, String> {
        Parameters::read(pairs.iter().map(|(name, value)| (Cow::Borrowed(*name), Cow::Borrowed(*value))))
    }

    #[test]
    fn options_are_gathered_and_known_by_name() {
        let found = read(&[("options[statement_timeout]", "10 s"), ("options", "-c geqo=off")]).unwrap();
        assert_eq!(found.options.as_deref(), Some(r"-c statement_timeout=10\ s -c geqo=off"));
        assert!(found.sets("statement_timeout") && found.sets("geqo") && !found.sets("lock_timeout"));
    }

    #[test]
    fn every_sslmode_is_known() {
        let modes = [
            ("disable", TlsMode::Disable),
            ("allow", TlsMode::Prefer),
            ("prefer", TlsMode::Prefer),
            ("require", TlsMode::Require),
            ("verify-ca", TlsMode::VerifyCa),
            ("verify_full", TlsMode::VerifyFull),
        ];
        for (word, mode) in modes {
            assert_eq!(read(&[("sslmode", word)]).unwrap().tls, Some(mode));
        }
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        assert!(read(&[("passfile", "x")]).unwrap_err().contains("`passfile`"));
        assert!(read(&[("client_encoding", "LATIN1")]).unwrap_err().contains("`client_encoding`"));
        assert!(read(&[("options[a b]", "1")]).is_err());
    }
}
