//! A server: what kind of one it is, commands to it, and why it cannot be reached.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bson::{Document, RawDocumentBuf, doc};
use dt_common::{Error, ErrorClass, Result};
use mongodb::error::{Error as DriverFailure, ErrorKind};
use mongodb::event::EventHandler;
use mongodb::event::sdam::SdamEvent;
use mongodb::options::{ClientOptions, SelectionCriteria, ServerAddress, WriteConcern};
use mongodb::{Client, ClientSession};

use crate::config::Address;
use crate::error::classify;

/// A server, connected. Clones share its connections.
#[derive(Clone)]
pub struct Server {
    /// The driver's client: a pool of connections. Its own text holds the password.
    client: Client,
    facts: Arc<Facts>,
}

/// What was found out about a server.
#[derive(Debug)]
struct Facts {
    identity: String,
    version: String,
    kind: Kind,
    wire_version: i64,
    is_writable: bool,
    address: Address,
    lost: Arc<AtomicU64>,
}

/// What a server is part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A replica set, by its name.
    ReplicaSet(String),
    /// A sharded cluster: the server is a `mongos`.
    Sharded,
    /// A server by itself, without an oplog.
    Standalone,
}

/// MongoDB 5.0: the first that offers reads of a past moment outside of transactions.
const WIRE_5_0: i64 = 13;
/// MongoDB 6.0: the first whose change stream gives updates as the oplog has them.
const WIRE_6_0: i64 = 17;

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.facts.fmt(f)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Facts { version, kind, address, .. } = self.facts.as_ref();
        match kind {
            Kind::ReplicaSet(name) => write!(f, "MongoDB {version} (replica set {name}) at {}", address.place()),
            Kind::Sharded => write!(f, "MongoDB {version} (sharded cluster) at {}", address.place()),
            Kind::Standalone => write!(f, "MongoDB {version} (standalone) at {}", address.place()),
        }
    }
}

impl Server {
    /// Connects for the first time and asks the server what it is. At this point nothing is retried: an address that
    /// does not answer is for the user to see at once.
    pub async fn discover(address: Address) -> Result<Self> {
        let (mut options, lost) = (address.options().clone(), Arc::<AtomicU64>::default());
        let counting = lost.clone();
        options.sdam_event_handler = Some(EventHandler::callback(move |event| {
            if let SdamEvent::ServerHeartbeatFailed(_) = event {
                counting.fetch_add(1, Ordering::Relaxed);
            }
        }));
        let client = Client::with_options(options)
            .map_err(|error| classify(format!("[{}] url", address.section()), &error).with_class(ErrorClass::Config))?;
        // When the last handle of a client is dropped, the driver spawns a task that ends its sessions, and at the end of the
        // process that task meets a runtime that is shutting down, and panics. So the last handle is never dropped; the
        // server ends idle sessions by itself.
        std::mem::forget(client.clone());
        let hello = match client.database("admin").run_command(doc! {"hello": 1}).await {
            Ok(hello) => hello,
            Err(error) => return Err(unreachable(&address, &error).await),
        };
        let asking = || format!("asking {} what it is", address.place());
        let build = client.database("admin").run_command(doc! {"buildInfo": 1}).await;
        let build = build.map_err(|error| classify(asking(), &error))?;
        let kind = kind_of(&hello);
        let identity = identity(&client, &kind, &hello, &address).await;
        let facts = Facts {
            identity,
            version: build.get_str("version").unwrap_or("of unknown version").to_owned(),
            wire_version: number(&hello, "maxWireVersion"),
            is_writable: hello.get_bool("isWritablePrimary").unwrap_or(false),
            kind,
            address,
            lost,
        };
        Ok(Server { client, facts: Arc::new(facts) })
    }

    /// The server's own identity: that of the replica set, where the account may see it.
    pub fn identity(&self) -> &str {
        &self.facts.identity
    }

    /// What it is part of.
    pub fn kind(&self) -> &Kind {
        &self.facts.kind
    }

    /// Whether it takes writes: the primary, a `mongos`, or a standalone.
    pub fn is_writable(&self) -> bool {
        self.facts.is_writable
    }

    /// Whether it offers reads of one past moment, that several sessions share; else why not.
    pub fn snapshot_reads(&self) -> std::result::Result<(), &'static str> {
        match (&self.facts.kind, self.facts.wire_version) {
            (Kind::Standalone, _) => Err("a standalone server has no reads of one moment"),
            (_, wire) if wire < WIRE_5_0 => {
                Err("a server before MongoDB 5.0 has no reads of one moment outside of transactions")
            }
            (Kind::ReplicaSet(_) | Kind::Sharded, _) => Ok(()),
        }
    }

    /// Whether it has transactions of several documents.
    pub fn has_transactions(&self) -> bool {
        match self.facts.kind {
            Kind::ReplicaSet(_) | Kind::Sharded => true,
            Kind::Standalone => false,
        }
    }

    /// Whether its change stream gives updates as the oplog has them (`showRawUpdateDescription`).
    pub fn raw_updates(&self) -> bool {
        self.facts.wire_version >= WIRE_6_0
    }

    /// Whether its change stream cuts large events in pieces (`$changeStreamSplitLargeEvent`: MongoDB 7.0, and 6.0.9).
    pub fn splits_large_events(&self) -> bool {
        let mut numbers = self.facts.version.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
        let version = [(); 3].map(|()| numbers.next().unwrap_or(0));
        version >= [6, 0, 9]
    }

    /// How often the driver's own connection, over which it watches the server, was lost until now.
    pub fn times_lost(&self) -> u64 {
        self.facts.lost.load(Ordering::Relaxed)
    }

    /// Its address.
    pub fn address(&self) -> &Address {
        &self.facts.address
    }

    /// Which members reads may go to, as the URL says.
    pub(crate) fn reads_from(&self) -> Option<SelectionCriteria> {
        self.facts.address.options().selection_criteria.clone()
    }

    /// When a write counts as done, as the URL says.
    pub(crate) fn write_concern(&self) -> Option<&WriteConcern> {
        self.facts.address.options().write_concern.as_ref()
    }

    /// The driver's client. It holds the password: never format it.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Runs a command on a database; the reply as bytes. A reply that holds errors of single documents is one, too.
    pub async fn command(
        &self,
        database: &str,
        command: Vec<u8>,
        session: Option<&mut ClientSession>,
    ) -> std::result::Result<Vec<u8>, DriverFailure> {
        let command = RawDocumentBuf::from_bytes(command)?;
        let database = self.client.database(database);
        let running = database.run_raw_command(command);
        let reply = match session {
            Some(session) => running.session(session).await,
            None => running.await,
        };
        match reply {
            Ok(reply) => Ok(reply.to_vec()?),
            // The driver gives up a reply that holds a text which is no UTF-8, as those do that quote such a document.
            Err(error) => match error.server_response() {
                Some(reply) if is_ok(reply.as_bytes()) => Ok(reply.as_bytes().to_vec()),
                Some(_) | None => Err(error),
            },
        }
    }
}

fn is_ok(reply: &[u8]) -> bool {
    crate::raw::field(reply, "ok").and_then(crate::raw::RawValue::integer) == Some(1)
}

fn number(document: &Document, name: &str) -> i64 {
    match document.get(name) {
        Some(bson::Bson::Int32(number)) => (*number).into(),
        Some(bson::Bson::Int64(number)) => *number,
        Some(bson::Bson::Double(number)) => *number as i64,
        Some(_) | None => 0,
    }
}

/// MongoDB documentation, `hello`: a `mongos` says `msg: isdbgrid`, a member its `setName`.
fn kind_of(hello: &Document) -> Kind {
    match (hello.get_str("msg"), hello.get_str("setName")) {
        (Ok("isdbgrid"), _) => Kind::Sharded,
        (_, Ok(name)) => Kind::ReplicaSet(name.to_owned()),
        (_, Err(_)) => Kind::Standalone,
    }
}

/// The id that a replica set or a cluster was given when it was made. An account that may not see it gets the names of the
/// members, which change with them.
async fn identity(client: &Client, kind: &Kind, hello: &Document, address: &Address) -> String {
    match kind {
        Kind::ReplicaSet(name) => {
            let config = client.database("admin").run_command(doc! {"replSetGetConfig": 1}).await.ok();
            let settings =
                config.as_ref().and_then(|reply| reply.get_document("config").ok()?.get_document("settings").ok());
            if let Some(Ok(id)) = settings.map(|settings| settings.get_object_id("replicaSetId")) {
                return format!("{name}/{id}");
            }
            let hosts =
                hello.get_array("hosts").map(|hosts| hosts.iter().filter_map(|host| host.as_str()).collect::<Vec<_>>());
            let mut hosts = hosts.unwrap_or_default();
            hosts.sort_unstable();
            format!("{name}@{}", hosts.join(","))
        }
        Kind::Sharded => {
            let version =
                client.database("config").collection::<Document>("version").find_one(doc! {}).await.ok().flatten();
            match version.map(|version| version.get_object_id("clusterId")) {
                Some(Ok(id)) => format!("cluster/{id}"),
                Some(Err(_)) | None => format!("cluster@{}", address.place()),
            }
        }
        Kind::Standalone => format!("standalone@{}", address.place()),
    }
}

/// How long a host that is asked why may take to answer, at most.
const WHY_TIMEOUT: Duration = Duration::from_secs(3);

/// Why the first command did not come through, in words that say what to do.
async fn unreachable(address: &Address, error: &DriverFailure) -> Error {
    let at = address.place();
    let doing = match address.user() {
        Some(user) => format!("cannot connect to {at} as `{user}`"),
        None => format!("cannot connect to {at}"),
    };
    let ErrorKind::ServerSelection { .. } = error.kind.as_ref() else {
        let error = classify(doing, error);
        return match error.class() {
            ErrorClass::Retry | ErrorClass::Reconnect => as_user(error),
            ErrorClass::User | ErrorClass::Config | ErrorClass::Fatal => error,
        };
    };
    let asked = futures_util::future::join_all(address.options().hosts.iter().map(|host| ask(address.options(), host)));
    let wanted = address.options().repl_set_name.as_deref();
    let mut causes = Vec::new();
    for (host, answer) in address.options().hosts.iter().zip(asked.await) {
        let hello = match answer {
            Ok(hello) => hello,
            Err(why) => {
                causes.push(format!("{host}: {why}"));
                continue;
            }
        };
        match (kind_of(&hello), wanted) {
            (Kind::Standalone, Some(wanted)) => {
                return Error::user(doing)
                    .caused_by(format!("{host} is a standalone server, and not a member of the replica set `{wanted}`"))
                    .hint("take replicaSet out of the url to copy from a standalone server; changes can only be followed on a replica set, which a server becomes by --replSet and rs.initiate()");
            }
            (Kind::ReplicaSet(name), Some(wanted)) if name != wanted => {
                return Error::user(doing)
                    .caused_by(format!("{host} is a member of the replica set `{name}`, not `{wanted}`"))
                    .hint(format!("correct replicaSet in [{}] url", address.section()));
            }
            (Kind::ReplicaSet(name), _) => causes.push(format!("{host} answers, but the replica set `{name}` has no member that can serve this (no primary?), or its members cannot be reached by the names that the set has for them")),
            (Kind::Sharded | Kind::Standalone, _) => causes.push(format!("{host} answers, but cannot serve this")),
        }
    }
    as_user(Error::user(doing).caused_by(causes.join("; ")))
}

fn as_user(error: Error) -> Error {
    error.with_class(ErrorClass::User).hint("check that the server runs, host and port, and what lies between; in a replica set also the members' own names (rs.conf()), or set is_direct_connection=true to speak to the named member only; connection_timeout_secs sets the wait")
}

/// Asks one host what it is, without logging in.
async fn ask(options: &ClientOptions, host: &ServerAddress) -> std::result::Result<Document, String> {
    let mut options = options.clone();
    options.hosts = vec![host.clone()];
    options.direct_connection = Some(true);
    options.repl_set_name = None;
    options.credential = None;
    let limit = options.connect_timeout.unwrap_or(WHY_TIMEOUT).min(WHY_TIMEOUT);
    options.server_selection_timeout = Some(limit);
    options.connect_timeout = Some(limit);
    // The driver keeps what the network said to itself while it selects a server.
    if let ServerAddress::Tcp { host: name, port } = host {
        let connecting = tokio::net::TcpStream::connect((name.as_str(), port.unwrap_or(27017)));
        match tokio::time::timeout(limit, connecting).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err(format!("did not answer within {} s", limit.as_secs())),
        }
    }
    let client = Client::with_options(options).map_err(|_| "cannot be asked".to_owned())?;
    let asking = client.database("admin").run_command(doc! {"hello": 1}).await;
    client.shutdown().immediate(true).await;
    asking.map_err(|_| {
        "accepts connections, but does not answer as MongoDB does (is it one, and does it want TLS?)".to_owned()
    })
}
