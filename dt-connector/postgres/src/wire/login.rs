//! Connecting and logging in (PostgreSQL documentation, 55.2.1 Start-up, 55.3 SASL Authentication).

use bytes::BytesMut;
use dt_common::{Error, ErrorClass, Result};
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::{md5_hash, sasl};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};

use super::{Purpose, Stream, Wire, lost, server_error};
use crate::config::{Address, ChannelBinding, TlsMode};
use crate::connect::Server;
use crate::tls;

/// Connects and logs in; the connection takes commands then.
pub async fn log_in(address: &Address, server: &Server, purpose: Purpose) -> Result<Wire> {
    if address.parameters.channel_binding == ChannelBinding::Require {
        return Err(Error::config("channel_binding=require is not available for a replication connection")
            .hint("take it out of the url: sslmode=verify-full secures the connection as well"));
    }
    let place = address.place();
    let tcp = TcpStream::connect((address.host.as_str(), address.port))
        .await
        .map_err(|error| lost(&place, &error).with_class(ErrorClass::Reconnect))?;
    tcp.set_nodelay(true).map_err(|error| lost(&place, &error))?;
    let stream = encrypt(address, tcp).await?;
    let mut wire = Wire::new(stream, place, purpose);
    start_up(&mut wire, parameters(address, server, purpose)).await?;
    authenticate(&mut wire, address).await?;
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

async fn encrypt(address: &Address, mut tcp: TcpStream) -> Result<Stream> {
    let must = match address.tls {
        TlsMode::Disable => return Ok(Box::new(tcp)),
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
        (b'N', false) => return Ok(Box::new(tcp)),
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
    let mut maker = tls::connector(address)?;
    let connect = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut maker, &address.host)
        .map_err(|error| failed(error.to_string()))?;
    let stream = connect.connect(tcp).await.map_err(|error| failed(error.to_string()))?;
    Ok(Box::new(stream))
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

async fn authenticate(wire: &mut Wire, address: &Address) -> Result<()> {
    let mut out = BytesMut::new();
    match wire.message(DOING).await? {
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
        Message::AuthenticationSasl(body) => scram(wire, address, &body).await?,
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

async fn scram(wire: &mut Wire, address: &Address, body: &AuthenticationSaslBody) -> Result<()> {
    let mechanisms: Vec<&str> = body.mechanisms().collect().map_err(|error| wire.garbled(&error))?;
    if !mechanisms.contains(&sasl::SCRAM_SHA_256) {
        return Err(Error::user(format!("{} knows no way to log in that dt knows", address.place()))
            .with("mechanisms", mechanisms.join(", ")));
    }
    let mut scram = sasl::ScramSha256::new(password(address)?, sasl::ChannelBinding::unsupported());
    let mut out = BytesMut::new();
    frontend::sasl_initial_response(sasl::SCRAM_SHA_256, scram.message(), &mut out)
        .map_err(|error| wire.garbled(&error))?;
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
