//! Where a collection is cut into chunks: at the keys of documents chosen at random, put in order by the server.

use bson::RawDocumentBuf;
use dt_common::Result;
use dt_common::position::OrderKey;
use dt_common::schema::TableSchema;
use dt_connector::CHUNKS_MAX;
use futures_util::StreamExt;

use super::{gathered, plan};
use crate::alive::while_alive;
use crate::connect::Server;
use crate::error::classify;
use crate::value::{self, ID};

/// Documents looked at for each chunk: enough that chunks differ little in size.
const SAMPLED: u64 = 50;

/// The bounds of the collection's chunks; none if it is to stay in one piece.
pub(super) async fn split(server: &Server, table: &TableSchema, chunk_rows: u64) -> Result<Vec<OrderKey>> {
    let chunks = table.rows_estimate.div_ceil(chunk_rows.max(1)).min(CHUNKS_MAX);
    if chunks < 2 {
        return Ok(Vec::new());
    }
    let doing = || format!("looking where {} can be cut into chunks", table.id);
    let command = plan::sample(&table.id.table, chunks * SAMPLED);
    let asking = async {
        let command = RawDocumentBuf::try_from(&command)?;
        let mut cursor = server.client().database(&table.id.schema).run_raw_cursor_command(command).batch().await?;
        let mut answers = Vec::new();
        while let Some(answer) = cursor.next().await {
            answers.push(answer?);
        }
        Ok(answers)
    };
    let answers =
        while_alive(server, asking).await?.map_err(|error: mongodb::error::Error| classify(doing(), &error))?;
    let mut sample = Vec::new();
    for answer in &answers {
        for document in gathered::documents(answer.as_raw_document().as_bytes())? {
            sample.push(gathered::id(document?)?);
        }
    }
    let bounds = plan::bounds(sample, chunks);
    Ok(bounds.into_iter().map(|bound| OrderKey::single(ID, value::to_key(bound.value()))).collect())
}
