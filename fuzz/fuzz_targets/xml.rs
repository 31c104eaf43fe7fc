//! Any bytes as a reader's XML: a reading or an error; a reading's nodules on a grid or an error.
#![no_main]

mod file;

use dasl_lidc::{Rule, XmlKind, ignored, nodules, read_xml};
use dasl_volume::{Geometry, PointMm};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let path = file::with("reading.xml", bytes);
    if let Ok(XmlKind::Ct(reading)) = read_xml(&path) {
        let grid = Geometry::axial([40, 512, 512], [2.5, 0.7, 0.7], PointMm::new(0.0, 0.0, 0.0));
        let _ = nodules(&reading, &grid, 2.5, Rule::Pylidc);
        let _ = ignored(&reading, &grid, 2.5, Rule::ThreeReadersUnion);
    }
});
