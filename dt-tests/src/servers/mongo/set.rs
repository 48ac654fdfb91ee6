//! A replica set of several members, for what happens when another one becomes primary.

use std::time::Duration;

use anyhow::{Context, Result};
use mongodb::bson::{Document, doc};

use super::{MongoServer, SET, Setup};
use crate::deadline;
use crate::mongo::Mongo;

/// How long an election may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Three members without logins, each of which can become primary.
#[derive(Debug)]
pub struct MongoSet {
    members: Vec<MongoServer>,
}

impl MongoSet {
    /// Starts the members, makes them a set and waits until there is a primary and the others follow it.
    ///
    /// # Errors
    /// As [`MongoServer::start`]; or no one becomes primary.
    pub fn start() -> Result<Self> {
        let setup = Setup { login: false, ..Setup::default() };
        let members = (0..3).map(|_| MongoServer::start_as(&setup, false)).collect::<Result<Vec<_>>>()?;
        let listed: Vec<Document> = (0_i32..)
            .zip(&members)
            .map(|(id, member)| doc! {"_id": id, "host": format!("127.0.0.1:{}", member.port())})
            .collect();
        let settings =
            doc! {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 200, "catchUpTimeoutMillis": 5000};
        let config = doc! {"_id": SET, "members": listed, "settings": settings};
        members[0].client()?.command("admin", doc! {"replSetInitiate": config})?;
        let set = MongoSet { members };
        deadline::until("all members follow a primary", PATIENCE, || {
            let states = set.members.iter().map(|member| member.client()?.command("admin", doc! {"hello": 1}));
            let states = states.collect::<Result<Vec<_>>>()?;
            let is = |name: &str| states.iter().filter(|state| state.get_bool(name).unwrap_or(false)).count();
            Ok((is("isWritablePrimary") == 1 && is("secondary") == 2).then_some(()))
        })?;
        Ok(set)
    }

    /// The address of all members as a task file's `url`.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.members.iter().map(|member| format!("127.0.0.1:{}", member.port())).collect();
        format!("mongodb://{}/?replicaSet={SET}", hosts.join(","))
    }

    /// The primary, once there is one: its number, and a client.
    ///
    /// # Errors
    /// No one becomes primary.
    pub fn primary(&self) -> Result<(usize, Mongo)> {
        deadline::until("there is a primary", PATIENCE, || {
            for (at, member) in self.members.iter().enumerate() {
                let client = member.client()?;
                let hello = client.command("admin", doc! {"hello": 1});
                if hello.is_ok_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or(false)) {
                    return Ok(Some((at, client)));
                }
            }
            Ok(None)
        })
    }

    /// Makes the primary step down, and waits until another one has taken over.
    ///
    /// # Errors
    /// No one does.
    pub fn step_down(&self) -> Result<()> {
        let (before, client) = self.primary()?;
        let asked = doc! {"replSetStepDown": 30, "secondaryCatchUpPeriodSecs": 10};
        client.command("admin", asked).context("step down")?;
        self.until_another(before)
    }

    /// Kills the primary (SIGKILL), waits until another one has taken over, and starts the old one again.
    ///
    /// # Errors
    /// No one does.
    pub fn kill_primary(&mut self) -> Result<()> {
        let (before, _) = self.primary()?;
        self.members[before].kill9()?;
        let taken_over = deadline::until("another member is primary", PATIENCE, || {
            for (at, member) in self.members.iter().enumerate().filter(|(at, _)| *at != before) {
                let hello = member.client()?.command("admin", doc! {"hello": 1})?;
                if hello.get_bool("isWritablePrimary").unwrap_or(false) {
                    return Ok(Some(at));
                }
            }
            Ok(None)
        });
        self.members[before].keeper.start()?;
        taken_over.map(drop)
    }

    fn until_another(&self, before: usize) -> Result<()> {
        deadline::until("another member is primary", PATIENCE, || {
            let (now, _) = self.primary()?;
            Ok((now != before).then_some(()))
        })
    }
}
