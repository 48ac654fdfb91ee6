//! The task file: INI text in, a [`TaskConfig`] out, or everything that is wrong with it at once.
//!
//! Sections, keys and meanings are those of ape-dts where they exist there. Every key is defined once, beside the
//! struct that it fills; `docs/config.md` is checked against these definitions. What is not known is an error that
//! names the nearest known name; what is known and does not work yet is refused by name; what has no effect is noted.
//!
//! Reads no file and no environment: the text comes in as an argument. Messages never hold a URL or a password.

mod address;
mod change_stream;
mod ddls;
mod endpoint;
mod extractor;
mod filter;
mod identity;
mod ini;
mod json;
pub mod keys;
mod moment;
mod pipeline;
mod problem;
mod reader;
mod recognise;
mod replication;
mod resumer;
mod router;
mod runtime;
mod sinker;
mod stream;
#[cfg(test)]
mod tests;
pub mod tokens;

pub use address::BadUrl;
pub use change_stream::{MongoCdcOptions, MongoCdcStart, MongoStreamSource};
pub use ddls::{DdlKind, Ddls};
pub use endpoint::{Endpoint, SslMode};
pub use extractor::{ExtractParallelType, ExtractType, ExtractorConfig, MongoOptions};
pub use filter::{Condition, Events, FilterConfig, IgnoredColumns};
pub use pipeline::{ParallelType, ParallelizerConfig, PipelineConfig};
pub use problem::{ConfigErrors, Problem};
pub use replication::PgCdcOptions;
pub use resumer::{PositionTable, ResumeKind, ResumerConfig};
pub use router::{ColumnMap, RouterConfig};
pub use runtime::{GlobalConfig, LogLevel, RuntimeConfig};
pub use sinker::{ConflictPolicy, SinkTarget, SinkerConfig, TransactionIsolation};
pub use stream::{CdcStart, Heartbeat, MysqlCdcOptions};
pub use tokens::{TablePattern, Token};

use crate::ids::DbType;
use ini::Ini;
use keys::Section;
use problem::Findings;
use reader::Reader;

/// The sections that there are, in the order of the documentation.
pub const SECTIONS: &[Section] = &[
    runtime::GLOBAL,
    extractor::SECTION,
    sinker::SECTION,
    filter::SECTION,
    router::SECTION,
    pipeline::SECTION,
    pipeline::PARALLELIZER,
    runtime::SECTION,
    resumer::SECTION,
];

/// Sections of ape-dts files whose features do not exist yet: refused by name.
pub const LATER_SECTIONS: &[&str] = &["checker", "checker_output", "processor", "metrics", "data_marker", "precheck"];

/// A task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskConfig {
    /// `[global]`
    pub global: GlobalConfig,
    /// `[extractor]`
    pub extractor: ExtractorConfig,
    /// `[sinker]`
    pub sinker: SinkerConfig,
    /// `[pipeline]`
    pub pipeline: PipelineConfig,
    /// `[parallelizer]`
    pub parallelizer: ParallelizerConfig,
    /// `[runtime]`
    pub runtime: RuntimeConfig,
    /// `[filter]`
    pub filter: FilterConfig,
    /// `[router]`
    pub router: RouterConfig,
    /// `[resumer]`
    pub resumer: ResumerConfig,
}

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The task.
    pub config: TaskConfig,
    /// What the user should know although the task can run, one line each: old names, keys without effect.
    pub notes: Vec<String>,
}

/// Reads a task file's text. The error lists everything that is wrong, each with its line.
pub fn parse(text: &str) -> Result<Parsed, ConfigErrors> {
    let mut findings = Findings::default();
    let mut ini = ini::read(text, &mut findings);
    recognise::recognise(&mut ini, &mut findings);
    let findings_of = &mut findings;

    let global = GlobalConfig::read(&mut Reader::new(&runtime::GLOBAL, &ini, findings_of));
    let extractor = ExtractorConfig::read(&mut Reader::new(&extractor::SECTION, &ini, findings_of));
    let sinker = SinkerConfig::read(&mut Reader::new(&sinker::SECTION, &ini, findings_of));
    let pipeline = PipelineConfig::read(&mut Reader::new(&pipeline::SECTION, &ini, findings_of));
    let parallelizer = ParallelizerConfig::read(&mut Reader::new(&pipeline::PARALLELIZER, &ini, findings_of));
    let runtime = RuntimeConfig::read(&mut Reader::new(&runtime::SECTION, &ini, findings_of));
    let resumer = ResumerConfig::read(&mut Reader::new(&resumer::SECTION, &ini, findings_of), sinker.as_ref());
    // Lists of names are read by the source's quotes: without a kind of source there is nothing to read them by.
    let names = db_type_of(&ini, "extractor").map(|source| {
        let filter = FilterConfig::read(&mut Reader::new(&filter::SECTION, &ini, findings_of), source);
        let target = db_type_of(&ini, "sinker").unwrap_or(source);
        let quotes = [tokens::quote_of(source), tokens::quote_of(target)];
        let router = RouterConfig::read(&mut Reader::new(&router::SECTION, &ini, findings_of), &quotes);
        (filter, router)
    });

    match (extractor, sinker, names) {
        (Some(extractor), Some(sinker), Some((filter, router))) if findings.problems.is_empty() => {
            let config =
                TaskConfig { global, extractor, sinker, pipeline, parallelizer, runtime, filter, router, resumer };
            Ok(Parsed { config, notes: findings.into_notes() })
        }
        _ => Err(ConfigErrors::new(findings.problems)),
    }
}

fn db_type_of(ini: &Ini, section: &str) -> Option<DbType> {
    ini.find(section, "db_type").and_then(|entry| entry.value.parse().ok())
}

impl TaskConfig {
    /// The task's name: the one that the user chose, or one made of the addresses of source and target, the filter
    /// and the router. Credentials, options, sizes and limits do not change it, nor does the order of a list.
    pub fn task_id(&self) -> String {
        if let Some(chosen) = &self.global.task_id {
            return chosen.clone();
        }
        let target = match &self.sinker.target {
            SinkTarget::Write(endpoint) => endpoint.address.as_str(),
            SinkTarget::Dummy => "dummy",
        };
        identity::task_id(&self.extractor.endpoint.address, target, &self.filter, &self.router)
    }
}
