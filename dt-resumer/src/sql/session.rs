//! The store's one connection: made when it is needed, given up when it fails, used by one transaction at a time.

use std::time::Duration;

use dt_common::failpoint::{Failpoint, in_flight, reach};
use dt_common::position::PositionWrite;
use dt_common::{ErrorClass, Result};

use super::address::Address;
use super::dialect::Dialect;
use super::link::{Failure, Link, TextRow};
use super::write::Limits;

/// How long a transaction may take. Longer is a link that carries nothing any more.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a transaction is tried again at once that the server has ended for the sake of another one. One that waits for a
/// lock is ended after ten seconds: this is longer than a server holds the locks of a process whose machine is gone.
const TRIES: u32 = 10;

/// A connection that makes itself anew.
pub(crate) struct Session {
    dialect: Dialect,
    address: Address,
    link: Option<Box<dyn Link>>,
}

/// How a guarded write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is durable.
    Durable,
    /// The epoch is another one: nothing was written.
    Fenced,
}

impl Session {
    pub(crate) fn new(dialect: Dialect, address: Address) -> Session {
        Session { dialect, address, link: None }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// The first connection. Nothing is retried: an address that does not answer is for the user to see at once.
    pub(crate) async fn open(&mut self) -> Result<Limits> {
        match self.link().await {
            Ok(link) => Ok(link.limits()),
            Err(failure) if failure.error.class().is_transient() => Err(failure
                .error
                .with_class(ErrorClass::User)
                .hint("check that the server runs, and host and port in [resumer] url")),
            Err(failure) => Err(failure.error),
        }
    }

    async fn link(&mut self) -> Result<&mut Box<dyn Link>, Failure> {
        if self.link.is_none() {
            let connecting = connect(self.dialect, &self.address);
            let made = tokio::time::timeout(self.address.connect_timeout, connecting).await;
            self.link = Some(made.unwrap_or_else(|_| Err(Failure::late("connecting")))?);
        }
        Ok(self.link.as_mut().expect("session: the link was just made"))
    }

    /// Executes one statement by itself.
    pub(crate) async fn rows(&mut self, statement: &str) -> Result<Vec<TextRow>, Failure> {
        let asked = async { self.link().await?.rows(statement).await };
        let answer = tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(Failure::late("reading")));
        self.keep_or_drop(answer)
    }

    /// Executes one statement by itself, and wants no answer.
    pub(crate) async fn exec(&mut self, statement: &str) -> Result<(), Failure> {
        self.rows(statement).await.map(drop)
    }

    /// Executes a write in a transaction of its own, if its guard lets it.
    pub(crate) async fn write(&mut self, write: &PositionWrite) -> Result<Written, Failure> {
        let mut tries = 1;
        loop {
            match self.write_once(write).await {
                Err(failure) if failure.error.class() == ErrorClass::Retry && tries < TRIES => {
                    again(&failure, &mut tries)
                }
                ended => return ended,
            }
        }
    }

    async fn write_once(&mut self, write: &PositionWrite) -> Result<Written, Failure> {
        let writing = async {
            self.link().await?.rows(BEGIN).await?;
            let link = self.link().await?;
            if link.rows(&write.guard).await?.len() != 1 {
                link.rows(ROLLBACK).await?;
                return Ok(Written::Fenced);
            }
            for statement in &write.statements {
                link.rows(statement).await?;
            }
            reach(Failpoint::StoreRows);
            in_flight(Failpoint::StoreCommit, link.rows(COMMIT)).await?;
            Ok(Written::Durable)
        };
        let ended = tokio::time::timeout(PATIENCE, writing).await.unwrap_or_else(|_| Err(Failure::late("writing")));
        self.keep_or_drop(ended)
    }

    /// Reads with `first`, and executes what `then` makes of it in the same transaction; `None` for nothing.
    pub(crate) async fn read_and_write<T: Send>(
        &mut self,
        first: &str,
        then: impl Fn(Vec<TextRow>) -> Result<(Option<String>, T)> + Send + Sync,
    ) -> Result<T, Failure> {
        let mut tries = 1;
        loop {
            let working = async {
                self.link().await?.rows(BEGIN).await?;
                let link = self.link().await?;
                let read = link.rows(first).await?;
                let (statement, decided) = then(read).map_err(Failure::other)?;
                if let Some(statement) = statement {
                    link.rows(&statement).await?;
                }
                link.rows(COMMIT).await?;
                Ok(decided)
            };
            let ended = tokio::time::timeout(PATIENCE, working).await.unwrap_or_else(|_| Err(Failure::late("writing")));
            match self.keep_or_drop(ended) {
                Err(failure) if failure.error.class() == ErrorClass::Retry && tries < TRIES => {
                    again(&failure, &mut tries)
                }
                ended => return ended,
            }
        }
    }

    /// A connection of which a transaction may be half done is not used again.
    fn keep_or_drop<T>(&mut self, ended: Result<T, Failure>) -> Result<T, Failure> {
        if ended.is_err() {
            self.link = None;
        }
        ended
    }
}

fn again(failure: &Failure, tries: &mut u32) {
    tracing::info!("another transaction stands in the way, and is waited for (attempt {tries}): {}", failure.error);
    *tries += 1;
}

const BEGIN: &str = "BEGIN";
const COMMIT: &str = "COMMIT";
const ROLLBACK: &str = "ROLLBACK";

async fn connect(dialect: Dialect, address: &Address) -> Result<Box<dyn Link>, Failure> {
    match dialect {
        #[cfg(feature = "mysql")]
        Dialect::Mysql => Ok(Box::new(super::mysql::connect(address).await?)),
        #[cfg(not(feature = "mysql"))]
        Dialect::Mysql => Err(not_built("mysql", address)),
        #[cfg(feature = "postgres")]
        Dialect::Postgres => Ok(Box::new(super::postgres::connect(address).await?)),
        #[cfg(not(feature = "postgres"))]
        Dialect::Postgres => Err(not_built("postgres", address)),
    }
}

#[cfg(not(all(feature = "mysql", feature = "postgres")))]
fn not_built(feature: &'static str, address: &Address) -> Failure {
    let error = dt_common::Error::config("this build has no driver for the position table's server");
    Failure::other(error.with("server", address.host_port()).with("dt-resumer's feature", feature))
}
