//! One file per command.

pub mod bench;
pub mod compose;
pub mod demo;
pub mod evaluate;
pub mod experiment;
pub mod export;
pub mod froc;
pub mod import_candidates;
pub mod import_lidc;
pub mod import_luna16;
pub mod import_scans;
pub mod import_voi;
pub mod learn;
pub mod report;
pub mod segment;
pub mod series;
pub mod status;
pub mod train;

mod import_series;
mod imported;
mod prepare;
