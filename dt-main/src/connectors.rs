//! The one list of databases.

use dt_common::config::{Endpoint, ExtractorConfig, SinkTarget, SinkerConfig};
use dt_common::{DbType, Error, Result};
use dt_connector::dummy::DummyTarget;
use dt_connector::{SinkOptions, Source, Target};
use dt_connector_mongo::{MongoSource, MongoTarget};
use dt_connector_mysql::{MysqlSource, MysqlTarget};
use dt_connector_postgres::{PgSource, PgTarget};

/// Connects to the source.
pub async fn source(config: &ExtractorConfig) -> Result<Box<dyn Source>> {
    match config.endpoint.db_type {
        DbType::Mysql => Ok(Box::new(MysqlSource::connect(config).await?)),
        DbType::Pg => Ok(Box::new(PgSource::connect(config).await?)),
        DbType::Mongo => Ok(Box::new(MongoSource::connect(config).await?)),
        DbType::Redis => Err(not_yet("extractor", &config.endpoint)),
    }
}

/// Connects to the target.
pub async fn target(config: &SinkerConfig, options: SinkOptions) -> Result<Box<dyn Target>> {
    let endpoint = match &config.target {
        SinkTarget::Dummy => return Ok(Box::new(DummyTarget)),
        SinkTarget::Write(endpoint) => endpoint,
    };
    match endpoint.db_type {
        DbType::Mysql => Ok(Box::new(MysqlTarget::connect(endpoint, options).await?)),
        DbType::Pg => Ok(Box::new(PgTarget::connect(endpoint, options).await?)),
        DbType::Mongo => Ok(Box::new(MongoTarget::connect(endpoint, options).await?)),
        DbType::Redis => Err(not_yet("sinker", endpoint)),
    }
}

fn not_yet(section: &str, endpoint: &Endpoint) -> Error {
    Error::config(format!("[{section}] db_type={} is not available yet", endpoint.db_type))
        .hint("mysql (MySQL and MariaDB), pg and mongo are")
}
