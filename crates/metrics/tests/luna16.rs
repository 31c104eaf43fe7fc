//! Golden figures: `DeepLung`'s DPN26 marks on LUNA16 (public repository wentaozhu/DeepLung,
//! Apache-2.0, evaluationScript/), as an independent re-implementation of LUNA16's script gives
//! them; `DeepLung` itself publishes a CPM of 0.842.

use std::path::{Path, PathBuf};
use std::process::Command;

use dasl_metrics::froc::{MAX_MARKS_PER_SCAN, froc};
use dasl_metrics::luna_csv::{ScanIds, read_annotations, read_marks, read_scan_ids};

fn unpacked(folder: &Path, name: &str) -> Vec<u8> {
    let output = Command::new("xz").arg("-dc").arg(folder.join(name)).output().expect("xz runs");
    assert!(output.status.success(), "xz could not unpack {name}");
    output.stdout
}

#[test]
fn deeplung_marks_give_the_published_figures() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/froc-golden");
    if !folder.is_dir() {
        eprintln!("skipped: {} is not there", folder.display());
        return;
    }
    let read = |name: &str| unpacked(&folder, name);
    let ids = ScanIds::Integers;
    let scans = read_scan_ids("scans", &read("newseriesuids.csv.xz")[..], ids).expect("scans");
    let marks = read_marks("marks", &read("dpn26bs32.csv.xz")[..], ids).expect("marks");
    let nodules =
        read_annotations("nodules", &read("newannotations.csv.xz")[..], ids).expect("nodules");
    let excluded = read("newannotations_excluded.csv.xz");
    let excluded = read_annotations("excluded", &excluded[..], ids).expect("excluded");

    let froc = froc(&scans, &marks, &nodules, &excluded, MAX_MARKS_PER_SCAN).expect("a curve");

    let counts = froc.counts;
    assert_eq!((counts.scans, counts.nodules, counts.exclusions), (888, 1_186, 35_192));
    assert_eq!((counts.marks, counts.marks_after_cap), (55_677, 52_708));
    assert_eq!(counts.marks_on_other_scans, 0);
    assert_eq!(
        (counts.true_positives, counts.false_negatives, counts.false_positives),
        (1_136, 50, 46_078)
    );
    let golden = [0.6922, 0.7690, 0.8238, 0.8651, 0.8929, 0.9174, 0.9334];
    for (found, golden) in froc.sensitivities.iter().zip(golden) {
        assert!((found - golden).abs() < 0.5e-4 + 1e-12, "{found} is not {golden}");
    }
    assert!((froc.cpm - 0.841_97).abs() < 0.5e-5 + 1e-12, "CPM {}", froc.cpm);
}
