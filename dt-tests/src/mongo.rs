//! Commands to a MongoDB server, and documents as bytes.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt};
use mongodb::Client;
use mongodb::bson::raw::CString;
use mongodb::bson::{Document, RawArrayBuf, RawDocumentBuf, doc, rawdoc};
use mongodb::options::{ClientOptions, Credential, ServerAddress};
use tokio::runtime::{Builder, Runtime};

/// A client of one server.
pub struct Mongo {
    runtime: Runtime,
    client: Client,
}

/// Bytes of documents that are inserted with one command.
const INSERT_BYTES: usize = 8 * 1024 * 1024;

impl Mongo {
    /// A client of the server on 127.0.0.1 alone, whatever set it is a member of.
    ///
    /// # Errors
    /// No runtime can be made. Whether the server answers, the first command says.
    pub fn connect(port: u16, login: Option<(&str, &str)>) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let mut options = ClientOptions::default();
        options.hosts = vec![ServerAddress::Tcp { host: "127.0.0.1".to_owned(), port: Some(port) }];
        options.direct_connection = Some(true);
        options.server_selection_timeout = Some(Duration::from_secs(10));
        options.credential = login.map(|(user, password)| {
            Credential::builder()
                .username(user.to_owned())
                .password(password.to_owned())
                .source("admin".to_owned())
                .build()
        });
        let client = runtime.block_on(async { Client::with_options(options) })?;
        Ok(Mongo { runtime, client })
    }

    /// Runs a command on a database.
    ///
    /// # Errors
    /// What the server says.
    pub fn command(&self, database: &str, command: Document) -> Result<Document> {
        let name = command.keys().next().cloned().unwrap_or_default();
        let database = self.client.database(database);
        self.runtime.block_on(async { database.run_command(command).await }).with_context(|| format!("command {name}"))
    }

    /// Runs commands in one transaction, each on its database; committed, or ended without. Whether it was committed: what
    /// a command was refused ends it as well.
    ///
    /// # Errors
    /// The server has no transactions, or does not say whether it has committed.
    pub fn transaction(&self, commands: &[(&str, Document)], commit: bool) -> Result<bool> {
        self.runtime.block_on(async {
            let mut session = self.client.start_session().await?;
            session.start_transaction().await?;
            for (database, command) in commands {
                let database = self.client.database(database);
                let running = database.run_command(command.clone()).session(&mut session);
                if running.await.map_or(true, |reply| reply.contains_key("writeErrors")) {
                    session.abort_transaction().await?;
                    return Ok(false);
                }
            }
            match commit {
                true => session.commit_transaction().await?,
                false => session.abort_transaction().await?,
            }
            Ok(commit)
        })
    }

    /// Runs commands in a transaction that is prepared, as those of a sharded cluster are, then does something else, then
    /// commits it or gives it up. The server must have been started with `enableTestCommands`.
    ///
    /// # Errors
    /// What the server says.
    pub fn prepared(
        &self,
        database: &str,
        commands: &[Document],
        commit: bool,
        meanwhile: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let (database, admin) = (self.client.database(database), self.client.database("admin"));
        let mut session = self.runtime.block_on(async {
            let mut session = self.client.start_session().await?;
            session.start_transaction().await?;
            for command in commands {
                database.run_command(command.clone()).session(&mut session).await?;
            }
            anyhow::Ok(session)
        })?;
        let prepare = doc! {"prepareTransaction": 1, "writeConcern": {"w": "majority"}};
        let prepared = self
            .runtime
            .block_on(async { admin.run_command(prepare).session(&mut session).await })
            .context("prepare")?;
        meanwhile()?;
        let end = match commit {
            true => doc! {"commitTransaction": 1, "commitTimestamp": prepared.get_timestamp("prepareTimestamp")?},
            false => doc! {"abortTransaction": 1},
        };
        self.runtime.block_on(async { admin.run_command(end).session(&mut session).await }).context("end")?;
        Ok(())
    }

    /// Runs a command that is there as bytes.
    ///
    /// # Errors
    /// What the server says; also of a single document.
    pub fn raw_command(&self, database: &str, command: RawDocumentBuf) -> Result<()> {
        let database = self.client.database(database);
        let reply = self.runtime.block_on(async { database.run_raw_command(command).await })?;
        ensure!(reply.get_array("writeErrors").is_err(), "{reply}");
        Ok(())
    }

    /// Inserts documents as they are.
    ///
    /// # Errors
    /// What the server says; also of a single document.
    pub fn insert(&self, database: &str, collection: &str, documents: &[Vec<u8>]) -> Result<()> {
        let mut rest = documents;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |document: &&Vec<u8>| {
                bytes += document.len();
                bytes <= INSERT_BYTES
            };
            let count = rest.iter().take(20_000).take_while(fits).count().max(1);
            let mut array = RawArrayBuf::new();
            for document in &rest[..count] {
                array.push(RawDocumentBuf::from_bytes(document.clone())?);
            }
            let command = rawdoc! {"insert": collection, "documents": array};
            self.raw_command(database, command).with_context(|| format!("insert into {collection}"))?;
            rest = &rest[count..];
        }
        Ok(())
    }

    /// The documents of a collection as they are, in the order of `_id`.
    ///
    /// # Errors
    /// What the server says.
    pub fn documents(&self, database: &str, collection: &str) -> Result<Vec<Vec<u8>>> {
        let command = doc! {"find": collection, "sort": {"_id": 1}};
        let database = self.client.database(database);
        self.runtime.block_on(async {
            let mut cursor = database.run_cursor_command(command).batch().await?;
            let mut documents = Vec::new();
            while let Some(batch) = cursor.next().await {
                let batch = batch?;
                for document in batch.doc_slices()?.into_iter() {
                    let document = document?.as_document().context("an answer without documents")?;
                    documents.push(document.as_bytes().to_vec());
                }
            }
            Ok(documents)
        })
    }

    /// How many documents there are.
    ///
    /// # Errors
    /// What the server says.
    pub fn count(&self, database: &str, collection: &str) -> Result<u64> {
        let reply = self.command(database, doc! {"count": collection, "query": {}})?;
        Ok(u64::try_from(reply.get_i32("n")?)?)
    }

    /// The names of a database's collections, in order, without views and the server's own.
    ///
    /// # Errors
    /// What the server says.
    pub fn collections(&self, database: &str) -> Result<Vec<String>> {
        let listing = self.client.database(database);
        let found: Vec<Document> = self.runtime.block_on(async {
            listing
                .run_cursor_command(doc! {"listCollections": 1, "filter": {"type": "collection"}})
                .await?
                .try_collect()
                .await
        })?;
        let names = found.iter().filter_map(|entry| entry.get_str("name").ok());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with("system.")).map(str::to_owned).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The server's own hash of each of a database's collections, over their documents' bytes in the order of `_id`
    /// (MongoDB documentation, `dbHash`).
    ///
    /// # Errors
    /// What the server says.
    pub fn hashes(&self, database: &str) -> Result<BTreeMap<String, String>> {
        let reply = self.command(database, doc! {"dbHash": 1})?;
        let hashes = reply.get_document("collections")?;
        Ok(hashes.iter().filter_map(|(name, hash)| Some((name.clone(), hash.as_str()?.to_owned()))).collect())
    }
}

/// A field of a document by its bytes: the kind, the name, the value, none of which needs to be what a driver would write.
pub fn field(kind: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[kind], name, &[0], value].concat()
}

/// The bytes of a text, whether it is UTF-8 or not.
pub fn text(bytes: &[u8]) -> Vec<u8> {
    let length = i32::try_from(bytes.len() + 1).expect("mongo: a text of 2 GiB");
    [&length.to_le_bytes()[..], bytes, &[0]].concat()
}

/// A document of such fields.
pub fn document(fields: &[Vec<u8>]) -> Vec<u8> {
    let fields = fields.concat();
    let length = i32::try_from(fields.len() + 5).expect("mongo: a document of 2 GiB");
    [&length.to_le_bytes()[..], &fields, &[0]].concat()
}

/// The bytes of a document that a driver can write.
///
/// # Errors
/// It cannot.
pub fn bytes(document: &Document) -> Result<Vec<u8>> {
    Ok(document.to_vec()?)
}

/// A name as the driver wants it in raw documents.
///
/// # Errors
/// It holds a zero byte.
pub fn name(text: &str) -> Result<CString> {
    Ok(CString::try_from(text)?)
}
