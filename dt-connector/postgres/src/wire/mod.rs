//! A connection of our own: what the driver does not do, or not fast enough.
//!
//! The driver has no START_REPLICATION, and makes a value of its own of each row of a COPY, which it hands from task to
//! task. So this is a small client over `postgres-protocol`: start-up, log-in, and commands in the simple protocol
//! ([`Wire`]). Then either a COPY whose rows are read where they lie in the buffer ([`CopyOut`]), or, on a connection
//! that began with `replication=database`, a copy in both directions whose two halves are [`Incoming`] and [`Outgoing`].
//! PostgreSQL documentation, 55.2 Message Flow and 55.4 Streaming Replication Protocol.

mod copy_out;
mod feedback;
mod incoming;
mod login;

use bytes::{Buf, BytesMut};
use dt_common::{Error, ErrorClass, Result};
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{ErrorResponseBody, Message};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::config::Address;
use crate::connect::Server;
use crate::error::classify_message;

pub use copy_out::{CopyOut, Next};
pub use feedback::Acknowledged;
pub use incoming::{Frame, Incoming};

/// Bytes in both directions, encrypted or not.
trait Duplex: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static> Duplex for T {}

type Stream = Box<dyn Duplex>;

/// How much is asked of the network at a time.
const READ_BYTES: usize = 128 * 1024;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Commands of the replication protocol, and SQL.
    Replication,
    /// SQL only.
    Reading,
}

/// A connection that takes commands.
pub struct Wire {
    read: ReadHalf<Stream>,
    write: WriteHalf<Stream>,
    buffer: BytesMut,
    place: String,
    purpose: Purpose,
    // The server's process.
    pid: i32,
}

/// The answer of a command: rows of texts.
pub type Rows = Vec<Vec<Option<String>>>;

impl Wire {
    /// Connects and logs in.
    ///
    /// # Errors
    /// Those of the connection; of class user if the account may not replicate.
    pub async fn connect(address: &Address, server: &Server, purpose: Purpose) -> Result<Self> {
        let attempt = login::log_in(address, server, purpose);
        match tokio::time::timeout(address.connect_timeout, attempt).await {
            Ok(connected) => connected,
            Err(_) => Err(Error::new(
                ErrorClass::Reconnect,
                format!("{} did not answer within {} s", address.place(), address.connect_timeout.as_secs()),
            )),
        }
    }

    fn new(stream: Stream, place: String, purpose: Purpose) -> Self {
        let (read, write) = tokio::io::split(stream);
        Wire { read, write, buffer: BytesMut::with_capacity(READ_BYTES), place, purpose, pid: 0 }
    }

    /// The server's process, by which other sessions know this one.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Executes a command and hears its answer.
    ///
    /// # Errors
    /// The server's, classified; those of the connection.
    pub async fn command(&mut self, command: &str, doing: &str) -> Result<Rows> {
        self.ask(command).await?;
        let mut rows = Rows::new();
        let mut failed = None;
        loop {
            match self.message(doing).await? {
                Message::DataRow(row) => {
                    let text = |range: Option<std::ops::Range<usize>>| {
                        range.map(|range| String::from_utf8_lossy(&row.buffer()[range]).into_owned())
                    };
                    let ranges: Vec<_> = row.ranges().collect().map_err(|error| self.garbled(&error))?;
                    rows.push(ranges.into_iter().map(text).collect());
                }
                Message::ErrorResponse(body) => failed = Some(server_error(doing, &body)),
                Message::ReadyForQuery(_) => return failed.map_or(Ok(rows), Err),
                Message::RowDescription(_)
                | Message::CommandComplete(_)
                | Message::EmptyQueryResponse
                | Message::NoticeResponse(_)
                | Message::ParameterStatus(_) => {}
                _ => return Err(self.unexpected(doing)),
            }
        }
    }

    /// Tells the server that no more will come. What the network makes of it does not matter any more.
    pub async fn close(mut self) {
        let mut out = BytesMut::new();
        frontend::terminate(&mut out);
        let _ = self.send(&out).await;
    }

    /// Begins the copy in both directions.
    ///
    /// # Errors
    /// The server's, classified; those of the connection.
    pub async fn start(mut self, command: &str) -> Result<(Incoming, Outgoing)> {
        const DOING: &str = "starting the replication";
        self.ask(command).await?;
        loop {
            if self.buffer.first() == Some(&COPY_BOTH_TAG) && self.buffer.len() >= 5 {
                let length = u32::from_be_bytes([self.buffer[1], self.buffer[2], self.buffer[3], self.buffer[4]]);
                let whole = 1 + length as usize;
                if self.buffer.len() >= whole {
                    self.buffer.advance(whole);
                    break;
                }
                self.fill().await?;
                continue;
            }
            if self.buffer.is_empty() {
                self.fill().await?;
                continue;
            }
            match self.message(DOING).await? {
                Message::ErrorResponse(body) => return Err(server_error(DOING, &body)),
                Message::NoticeResponse(_) | Message::ParameterStatus(_) => {}
                _ => return Err(self.unexpected(DOING)),
            }
        }
        let outgoing = Outgoing { write: self.write };
        Ok((Incoming::new(self.read, self.buffer, self.place), outgoing))
    }

    async fn ask(&mut self, command: &str) -> Result<()> {
        let mut out = BytesMut::new();
        frontend::query(command, &mut out).map_err(|error| self.garbled(&error))?;
        self.send(&out).await
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let sent = async {
            self.write.write_all(bytes).await?;
            self.write.flush().await
        };
        sent.await.map_err(|error| lost(&self.place, &error))
    }

    async fn message(&mut self, doing: &str) -> Result<Message> {
        loop {
            if let Some(message) = Message::parse(&mut self.buffer).map_err(|error| self.garbled(&error))? {
                return Ok(message);
            }
            self.fill().await.map_err(|error| error.with("doing", doing))?;
        }
    }

    async fn fill(&mut self) -> Result<()> {
        fill(&mut self.read, &mut self.buffer, &self.place).await
    }

    fn garbled(&self, error: &std::io::Error) -> Error {
        garbled(&self.place, error)
    }

    fn unexpected(&self, doing: &str) -> Error {
        Error::fatal(format!("{} answered with a message that does not belong there", self.place)).with("doing", doing)
    }
}

/// `CopyBothResponse`, which `postgres-protocol` does not know.
const COPY_BOTH_TAG: u8 = b'W';

/// The half that the server listens to.
pub struct Outgoing {
    write: WriteHalf<Stream>,
}

impl Outgoing {
    async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.write.write_all(bytes).await?;
        self.write.flush().await
    }
}

async fn fill(read: &mut ReadHalf<Stream>, buffer: &mut BytesMut, place: &str) -> Result<()> {
    buffer.reserve(READ_BYTES);
    match read.read_buf(buffer).await {
        Ok(0) => Err(Error::new(ErrorClass::Reconnect, format!("{place} has closed the connection"))),
        Ok(_) => Ok(()),
        Err(error) => Err(lost(place, &error)),
    }
}

fn lost(place: &str, error: &std::io::Error) -> Error {
    Error::new(ErrorClass::Reconnect, format!("the connection to {place} is lost")).caused_by(error.to_string())
}

fn garbled(place: &str, error: &std::io::Error) -> Error {
    Error::fatal(format!("what {place} sent is not understood")).caused_by(error.to_string())
}

/// An error of the server, without the fields that hold values.
fn server_error(doing: &str, body: &ErrorResponseBody) -> Error {
    let (mut state, mut message) = (String::new(), String::new());
    let mut fields = body.fields();
    while let Ok(Some(field)) = fields.next() {
        match field.type_() {
            b'C' => state = String::from_utf8_lossy(field.value_bytes()).into_owned(),
            b'M' => message = String::from_utf8_lossy(field.value_bytes()).into_owned(),
            // Severity, detail, place in the server's source and the like.
            _ => {}
        }
    }
    classify_message(doing, &state, &message)
}
