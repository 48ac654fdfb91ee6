//! `heartbeat_tb`: a document of the source that is written now and then, so that the position of an idle source moves and
//! its lag can be seen. It runs beside the stream and never holds it up: what goes wrong is a warning.

use bson::{Document, doc};
use dt_common::config::Heartbeat;
use dt_common::failpoint::{Failpoint, reach};

use crate::alive::while_alive;
use crate::connect::Server;
use crate::error::classify;

/// Writes the document each interval, until it is aborted. Its `_id` is the task's.
pub async fn run(server: Server, heartbeat: Heartbeat, task_id: String) {
    let table = &heartbeat.table;
    let collection = server.client().database(&table.schema).collection::<Document>(&table.table);
    loop {
        let update = doc! {"$currentDate": {"update_timestamp": true}};
        let writing = collection.update_one(doc! {"_id": &task_id}, update).upsert(true);
        match while_alive(&server, writing.into_future()).await {
            Ok(Ok(_)) => reach(Failpoint::Heartbeat),
            Ok(Err(error)) => {
                let error = classify("the heartbeat document could not be written", &error);
                tracing::warn!("{error}");
            }
            Err(error) => tracing::warn!("the heartbeat document could not be written: {error}"),
        }
        tokio::time::sleep(heartbeat.interval).await;
    }
}
