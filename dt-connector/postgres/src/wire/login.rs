//! Connecting and logging in (PostgreSQL documentation, 55.2.1 Start-up, 55.3 SASL Authentication).

use std::sync::Arc;

use bytes::BytesMut;
use dt_common::{Error, ErrorClass, Result};
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::{md5_hash, sasl};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Purpose, Stream, Wire, lost, server_error};
use crate::config::{Address, ChannelBinding, TCP_KEEPALIVE, TCP_KEEPALIVE_PROBES, TlsMode};
use crate::connect::Server;
use crate::tls;

/// Connects and logs in; the connection takes commands then.
pub async fn log_in(address: &Address, server: &Server, purpose: Purpose) -> Result<Wire> {
    let place = address.place();
    let tcp = TcpStream::connect((address.host.as_str(), address.port))
        .await
        .map_err(|error| lost(&place, &error).with_class(ErrorClass::Reconnect))?;
    tcp.set_nodelay(true).map_err(|error| lost(&place, &error))?;
    let keepalive =
        TcpKeepalive::new().with_time(TCP_KEEPALIVE).with_interval(TCP_KEEPALIVE).with_retries(TCP_KEEPALIVE_PROBES);
    SockRef::from(&tcp).set_tcp_keepalive(&keepalive).map_err(|error| lost(&place, &error))?;
    let (stream, end_point) = encrypt(address, tcp).await?;
    let mut wire = Wire::new(stream, place, purpose);
    start_up(&mut wire, parameters(address, server, purpose)).await?;
    authenticate(&mut wire, address, end_point).await?;
    loop {
        match wire.message(DOING).await? {
            Message::BackendKeyData(key) => wire.pid = key.process_id(),
            Message::ParameterStatus(_) | Message::NoticeResponse(_) => {}
            Message::ReadyForQuery(_) => return Ok(wire),
            Message::ErrorResponse(body) => return Err(refused(address, wire.purpose, server_error(DOING, &body))),
            _ => return Err(wire.unexpected(DOING)),
        }
    }
}

const DOING: &str = "logging in";

/// The stream; encrypted, also what a log-in can be bound to.
async fn encrypt(address: &Address, mut tcp: TcpStream) -> Result<(Stream, Option<Vec<u8>>)> {
    let must = match address.tls {
        TlsMode::Disable => return Ok((Box::new(tcp), None)),
        TlsMode::Prefer => false,
        TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => true,
    };
    let place = address.place();
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    let mut answer = [0];
    let asked = async {
        tcp.write_all(&request).await?;
        tcp.read_exact(&mut answer).await
    };
    asked.await.map_err(|error| lost(&place, &error))?;
    match (answer[0], must) {
        (b'S', _) => {}
        (b'N', false) => return Ok((Box::new(tcp), None)),
        (_, true) => {
            return Err(Error::user(format!("{place} does not speak TLS")).hint("set ssl_mode=disable, or set it up"));
        }
        (_, false) => return Err(Error::fatal(format!("{place} answered with no byte that an SSLRequest can have"))),
    }
    let failed = |error: String| {
        Error::user(format!("a TLS connection to {place} cannot be made"))
            .caused_by(error)
            .hint("check sslmode and the certificate authorities")
    };
    let name = ServerName::try_from(address.host.clone()).map_err(|error| failed(error.to_string()))?;
    let connector = TlsConnector::from(Arc::new(tls::config(address)?));
    let stream = connector.connect(name, tcp).await.map_err(|error| failed(error.to_string()))?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let end_point = certificate.and_then(tls::end_point);
    Ok((Box::new(stream), end_point))
}

async fn start_up(wire: &mut Wire, parameters: Vec<(&str, &str)>) -> Result<()> {
    let mut out = BytesMut::new();
    frontend::startup_message(parameters, &mut out).map_err(|error| wire.garbled(&error))?;
    wire.send(&out).await
}

/// The session is pinned as every other one is: values come in the form that a snapshot's have. What is set here beats
/// `options` and the defaults of database and account.
fn parameters<'a>(address: &'a Address, server: &Server, purpose: Purpose) -> Vec<(&'a str, &'a str)> {
    let mut parameters = vec![
        ("user", address.user()),
        ("database", address.database.as_str()),
        ("application_name", address.parameters.application_name.as_deref().unwrap_or("dt")),
        ("client_encoding", if server.is_sql_ascii { "SQL_ASCII" } else { "UTF8" }),
        ("DateStyle", "ISO, YMD"),
        ("IntervalStyle", "postgres"),
        ("TimeZone", "UTC"),
        ("extra_float_digits", "3"),
        ("lc_monetary", "C"),
        ("bytea_output", "hex"),
        ("search_path", ""),
    ];
    match purpose {
        Purpose::Replication => parameters.push(("replication", "database")),
        Purpose::Reading => {}
    }
    if let Some(options) = &address.parameters.options {
        parameters.push(("options", options));
    }
    parameters
}

async fn authenticate(wire: &mut Wire, address: &Address, end_point: Option<Vec<u8>>) -> Result<()> {
    let mut out = BytesMut::new();
    let must_bind = address.parameters.channel_binding == ChannelBinding::Require;
    match wire.message(DOING).await? {
        Message::AuthenticationOk
        | Message::AuthenticationCleartextPassword
        | Message::AuthenticationMd5Password(_)
            if must_bind =>
        {
            return Err(unbound(address));
        }
        Message::AuthenticationOk => return Ok(()),
        Message::AuthenticationCleartextPassword => {
            frontend::password_message(password(address)?, &mut out).map_err(|error| wire.garbled(&error))?;
            wire.send(&out).await?;
        }
        Message::AuthenticationMd5Password(body) => {
            let hash = md5_hash(address.user().as_bytes(), password(address)?, body.salt());
            frontend::password_message(hash.as_bytes(), &mut out).map_err(|error| wire.garbled(&error))?;
            wire.send(&out).await?;
        }
        Message::AuthenticationSasl(body) => scram(wire, address, end_point, &body).await?,
        Message::ErrorResponse(body) => return Err(refused(address, wire.purpose, server_error(DOING, &body))),
        _ => {
            return Err(Error::user(format!("{} asks for a kind of log-in that dt does not know", address.place()))
                .hint("let pg_hba.conf ask this account for scram-sha-256, md5, password or trust"));
        }
    }
    match wire.message(DOING).await? {
        Message::AuthenticationOk => Ok(()),
        Message::ErrorResponse(body) => Err(refused(address, wire.purpose, server_error(DOING, &body))),
        _ => Err(wire.unexpected(DOING)),
    }
}

fn unbound(address: &Address) -> Error {
    Error::user(format!("{} offers no log-in that is bound to its certificate", address.place()))
        .hint("channel_binding=require needs TLS, and scram-sha-256 in pg_hba.conf; or take it out of the url")
}

/// How to log in, of what the server offers (pure): bound to its certificate if that can be (RFC 5802, 6).
fn mechanism(
    offered: &[&str],
    end_point: Option<Vec<u8>>,
    wanted: ChannelBinding,
) -> Option<(&'static str, sasl::ChannelBinding)> {
    let end_point = end_point.filter(|_| wanted != ChannelBinding::Disable);
    match end_point {
        Some(end_point) if offered.contains(&sasl::SCRAM_SHA_256_PLUS) => {
            Some((sasl::SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(end_point)))
        }
        Some(_) | None if wanted == ChannelBinding::Require || !offered.contains(&sasl::SCRAM_SHA_256) => None,
        Some(_) => Some((sasl::SCRAM_SHA_256, sasl::ChannelBinding::unrequested())),
        None => Some((sasl::SCRAM_SHA_256, sasl::ChannelBinding::unsupported())),
    }
}

async fn scram(
    wire: &mut Wire,
    address: &Address,
    end_point: Option<Vec<u8>>,
    body: &AuthenticationSaslBody,
) -> Result<()> {
    let mechanisms: Vec<&str> = body.mechanisms().collect().map_err(|error| wire.garbled(&error))?;
    let wanted = address.parameters.channel_binding;
    let Some((mechanism, binding)) = mechanism(&mechanisms, end_point, wanted) else {
        if wanted == ChannelBinding::Require {
            return Err(unbound(address));
        }
        return Err(Error::user(format!("{} knows no way to log in that dt knows", address.place()))
            .with("mechanisms", mechanisms.join(", ")));
    };
    let mut scram = sasl::ScramSha256::new(password(address)?, binding);
    let mut out = BytesMut::new();
    frontend::sasl_initial_response(mechanism, scram.message(), &mut out).map_err(|error| wire.garbled(&error))?;
    wire.send(&out).await?;
    let bad = |error: std::io::Error| {
        Error::user(format!("logging in to {} failed", address.place()))
            .caused_by(error.to_string())
            .hint("check username and password")
    };
    match wire.message(DOING).await? {
        Message::AuthenticationSaslContinue(body) => scram.update(body.data()).map_err(bad)?,
        Message::ErrorResponse(body) => return Err(refused(address, wire.purpose, server_error(DOING, &body))),
        _ => return Err(wire.unexpected(DOING)),
    }
    out.clear();
    frontend::sasl_response(scram.message(), &mut out).map_err(|error| wire.garbled(&error))?;
    wire.send(&out).await?;
    match wire.message(DOING).await? {
        Message::AuthenticationSaslFinal(body) => scram.finish(body.data()).map_err(bad),
        Message::ErrorResponse(body) => Err(refused(address, wire.purpose, server_error(DOING, &body))),
        _ => Err(wire.unexpected(DOING)),
    }
}

fn password(address: &Address) -> Result<&[u8]> {
    match address.password().expose() {
        "" => Err(Error::user(format!("{} asks for a password", address.place())).hint("set password")),
        password => Ok(password.as_bytes()),
    }
}

/// What a refused log-in may come from, beside the password.
fn refused(address: &Address, purpose: Purpose, error: Error) -> Error {
    match purpose {
        Purpose::Replication => {}
        Purpose::Reading => return error,
    }
    let text = error.to_string();
    if text.contains("ERROR 42501") {
        return error.hint(format!(
            "the account needs the attribute REPLICATION: ALTER ROLE {} REPLICATION (on managed servers the role that they name for it, as rds_replication)",
            crate::sql::name(address.user())
        ));
    }
    if text.contains("ERROR 53300") {
        return error.hint("raise max_wal_senders on the source, or stop other replicas");
    }
    error
}

#[cfg(test)]
mod tests {
    use dt_common::config::Endpoint;
    use dt_common::{DbType, Secret};

    use super::*;

    #[test]
    fn a_log_in_is_bound_to_the_certificate_where_it_can_be() {
        let both = [sasl::SCRAM_SHA_256_PLUS, sasl::SCRAM_SHA_256];
        let chosen = |offered: &[&str], end_point: Option<Vec<u8>>, wanted| {
            mechanism(offered, end_point, wanted).map(|(mechanism, _)| mechanism)
        };
        let end_point = || Some(vec![1]);
        assert_eq!(chosen(&both, end_point(), ChannelBinding::Prefer), Some(sasl::SCRAM_SHA_256_PLUS));
        assert_eq!(chosen(&both, end_point(), ChannelBinding::Require), Some(sasl::SCRAM_SHA_256_PLUS));
        assert_eq!(chosen(&both, end_point(), ChannelBinding::Disable), Some(sasl::SCRAM_SHA_256));
        assert_eq!(chosen(&both, None, ChannelBinding::Prefer), Some(sasl::SCRAM_SHA_256));
        assert_eq!(chosen(&both, None, ChannelBinding::Require), None);
        assert_eq!(chosen(&both[1..], end_point(), ChannelBinding::Prefer), Some(sasl::SCRAM_SHA_256));
        assert_eq!(chosen(&both[1..], end_point(), ChannelBinding::Require), None);
        assert_eq!(chosen(&["SCRAM-SHA-512"], None, ChannelBinding::Prefer), None);
    }

    #[test]
    fn a_replication_session_writes_values_as_every_other_one_does() {
        let url = Secret::new("postgres://u@db1/d?options=-c lc_monetary=de_DE.utf8");
        let address = Address::new(&Endpoint::new(DbType::Pg, url).expect("an endpoint"), "extractor");
        let address = address.expect("an address");
        let server = Server {
            version: "15.1".into(),
            version_number: 150_000,
            identity: "1/d".into(),
            place: address.place(),
            is_sql_ascii: false,
            is_in_recovery: false,
        };
        let parameters = parameters(&address, &server, Purpose::Replication);
        for set in [("TimeZone", "UTC"), ("lc_monetary", "C"), ("client_encoding", "UTF8"), ("replication", "database")]
        {
            assert!(parameters.contains(&set), "{set:?}");
        }
        assert!(parameters.contains(&("options", "-c lc_monetary=de_DE.utf8")), "{parameters:?}");
    }
}
