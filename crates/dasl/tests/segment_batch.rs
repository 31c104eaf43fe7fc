//! `dasl segment` on many scans in one call: found in any layout, not done twice, in shares.

mod made_up;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use dasl_volume::metaimage::{self, Compression};
use dasl_volume::{CtVolume, dicom, nifti};
use dicom_core::VR;
use dicom_dictionary_std::tags;
use made_up::{Ran, kill_when, only, run, slice};

struct Bench {
    /// PHANTOM-001 to PHANTOM-003 as DICOM.
    source: PathBuf,
    model: PathBuf,
    _lock: File,
}

fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| {
        let (folder, lock) = made_up::shared_folder("segment_batch");
        let source = folder.join("source");
        made_up::scans(&source, 6, 3);
        let model = made_up::model(&folder, &source);
        Bench { source, model, _lock: lock }
    })
}

/// A call that takes almost anything for a nodule.
fn arguments(scans: &[&Path], out: &Path, more: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = ["segment", "--threshold", "0.01"].map(Into::into).into();
    all.extend(scans.iter().map(|scan| text(scan).to_owned()));
    all.extend(["--model", text(&bench().model), "--out", text(out)].map(Into::into));
    all.extend(more.iter().map(|word| (*word).to_owned()));
    all
}

fn segment(scans: &[&Path], out: &Path, more: &[&str]) -> Ran {
    run(arguments(scans, out, more))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn series(patient: usize) -> PathBuf {
    only(&only(&bench().source.join(format!("PHANTOM-{patient:03}"))))
}

fn volume(patient: usize) -> CtVolume {
    dicom::read_folder(&series(patient)).unwrap().volume
}

fn names(folder: &Path) -> Vec<String> {
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    made_up::entries(folder).iter().map(name).collect()
}

/// The folders of scans in one.
fn scans_in(out: &Path) -> Vec<String> {
    names(out).into_iter().filter(|name| out.join(name).is_dir()).collect()
}

/// All files of all scans in a folder with their bytes.
fn bytes(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for name in scans_in(root) {
        for file in names(&root.join(&name)) {
            let path = Path::new(&name).join(file);
            files.insert(path.clone(), fs::read(root.join(path)).unwrap());
        }
    }
    files
}

/// A tree of three DICOM series, one of them beside a scout, with a `NIfTI` and a `MetaImage` file.
fn tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    made_up::copy(&bench().source, &tree.path().join("dicom"));
    let scout = tree.path().join("dicom/PHANTOM-001/scout.dcm");
    fs::copy(slice(&series(1), 1), &scout).unwrap();
    made_up::rewrite_file(&scout, tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.4");
    made_up::rewrite_file(&scout, tags::SOP_INSTANCE_UID, VR::UI, "1.2.3.4.1");
    made_up::rewrite_file(&scout, tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\LOCALIZER");
    fs::create_dir(tree.path().join("others")).unwrap();
    nifti::write_ct(&tree.path().join("others/first.nii.gz"), &volume(1)).unwrap();
    let second = tree.path().join("others/second.mhd");
    metaimage::write_ct(&second, &volume(2), Compression::None).unwrap();
    fs::write(tree.path().join("others/notes.txt"), "no scan").unwrap();
    tree
}

const ALL: [&str; 5] = ["PHANTOM-001", "PHANTOM-002", "PHANTOM-003", "first", "second"];

#[test]
fn a_tree_of_all_kinds_is_segmented_and_not_twice() {
    let tree = tree();
    // Beside the scans, so that the second call meets what the first wrote.
    let out = &tree.path().join("others/segmented");
    let ran = segment(&[tree.path()], out, &[]).done();
    assert!(ran.out.contains("5 scans with"), "{}", ran.out);
    assert!(ran.out.contains("0 there already, 0 set aside"), "{}", ran.out);
    assert_eq!(scans_in(out), ALL);
    let joined = fs::read_to_string(out.join("all-nodules.csv")).unwrap();
    assert!(joined.starts_with("scan,id,x_mm,") && joined.contains("\nPHANTOM-001,1,"), "{joined}");
    let has = |scan: &str, file: &str| out.join(scan).join(file).is_file();
    for scan in ALL {
        assert!(has(scan, "nodules.csv") && has(scan, "scan.json"));
        // Without a nodule there is no segment; without DICOM no series to belong to.
        let found = has(scan, "nodule-001.png");
        assert_eq!(has(scan, "nodules.seg.dcm"), found && scan.starts_with("PHANTOM"), "{scan}");
    }
    assert!(has("PHANTOM-001", "nodules.seg.dcm"), "nothing was found: nothing is tested");

    let before = bytes(out);
    // A reader's own column in one table is not the joint table's.
    let own = out.join("PHANTOM-001/nodules.csv");
    let table = fs::read_to_string(&own).unwrap();
    fs::write(&own, table.replace('\n', ",seen\n")).unwrap();
    segment(&[tree.path()], out, &[]).done();
    assert_eq!(fs::read_to_string(out.join("all-nodules.csv")).unwrap(), joined);
    fs::write(&own, table).unwrap();
    // What another process is writing there is no scan either.
    fs::create_dir(out.join("unfinished")).unwrap();
    let map = out.join("unfinished/nodules.nii.gz");
    fs::copy(tree.path().join("others/first.nii.gz"), map).unwrap();
    let again = segment(&[tree.path()], out, &["--json"]).done().json();
    assert_eq!(again["scans"], serde_json::json!([]));
    assert_eq!(again["there_already"], serde_json::json!(ALL));
    fs::remove_dir_all(out.join("unfinished")).unwrap();
    assert!(before == bytes(out), "a skipped scan changed");

    // A folder, a series and a file in one call, the series named twice: the same once more.
    let by_hand = tempfile::tempdir().unwrap();
    let (file, folder) = (tree.path().join("others/second.mhd"), tree.path().join("dicom"));
    let first = tree.path().join("others/first.nii.gz");
    let dicom_again = only(&only(&tree.path().join("dicom/PHANTOM-002")));
    segment(&[&file, &dicom_again, &first, &folder], by_hand.path(), &[]).done();
    assert!(before == bytes(by_hand.path()), "the order of the arguments matters");
}

#[test]
fn other_settings_or_another_content_are_done_anew() {
    let out = tempfile::tempdir().unwrap();
    let one = series(1);
    let found = |more: &[&str]| {
        let ran = segment(&[&one], out.path(), &[more, &["--json"]].concat()).done().json();
        let nodules = ran["scans"].as_array().unwrap().first().map(|s| s["nodules"].clone());
        nodules.map(|n| n.as_array().unwrap().len())
    };
    let all = found(&[]).unwrap();
    assert!(all > 0, "nothing was found: nothing is tested");
    assert_eq!(found(&[]), None, "done twice");
    let scan = out.path().join("PHANTOM-001");
    fs::write(scan.join("my-own.txt"), "a reader's remark").unwrap();
    assert!(scan.join("nodules.seg.dcm").is_file());
    assert_eq!(found(&["--min-diameter", "99"]), Some(0));
    assert_eq!(
        names(&scan),
        ["my-own.txt", "nodules.csv", "nodules.nii.gz", "scan.json", "trained-on.txt"]
    );
    assert_eq!(found(&["--min-diameter", "3"]), Some(all));
    // 3 mm is the default.
    assert_eq!(found(&[]), None);
    // A series of which a file came later.
    let shorter = tempfile::tempdir().unwrap();
    made_up::copy(&one, shorter.path());
    fs::remove_file(slice(shorter.path(), 1)).unwrap();
    let ran = segment(&[shorter.path()], out.path(), &[]).done();
    assert!(ran.out.contains("1 scans with"), "{}", ran.out);
    // The note of an older version says nothing of what it was made with.
    let note = serde_json::json!({
        "name": "PHANTOM-001", "series_uid": one.file_name().unwrap().to_str().unwrap(),
        "dasl_version": "0.0.1", "lung_sure": true,
    });
    fs::write(scan.join("scan.json"), note.to_string()).unwrap();
    assert_eq!(found(&[]), Some(all));
    assert_eq!(scans_in(out.path()), ["PHANTOM-001"]);
}

/// Killed after any scan and started again, the batch ends with the same bytes.
#[test]
fn a_killed_batch_goes_on() {
    let (whole, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let source = bench().source.as_path();
    segment(&[source], whole.path(), &[]).done();
    let mut kills = 0;
    for done in 1..3 {
        let reached = out.path().join(format!("PHANTOM-{done:03}/scan.json"));
        kills +=
            usize::from(kill_when(&arguments(&[source], out.path(), &[]), || reached.exists()));
    }
    assert!(kills > 0, "nothing was killed: nothing is tested");
    let ran = segment(&[source], out.path(), &["--json"]).done().json();
    assert!(!ran["there_already"].as_array().unwrap().is_empty());
    assert!(bytes(whole.path()) == bytes(out.path()));
}

#[test]
fn shares_make_up_the_whole() {
    let (tree, out) = (tree(), tempfile::tempdir().unwrap());
    let mut seen = Vec::new();
    for (share, scans) in [("1/2", 3), ("2/2", 2)] {
        let ran = segment(&[tree.path()], out.path(), &["--shard", share, "--json"]).done().json();
        let scans_of = ran["scans"].as_array().unwrap();
        assert_eq!(scans_of.len(), scans);
        seen.extend(scans_of.iter().map(|s| s["scan"].as_str().unwrap().to_owned()));
    }
    assert_eq!(seen, ["PHANTOM-001", "PHANTOM-003", "second", "PHANTOM-002", "first"]);
    let ran = segment(&[tree.path()], out.path(), &["--shard", "3/2"]);
    assert!(ran.code == Some(2) && ran.err.contains("2/8"), "{ran:?}");
}

/// What is bad is named by the share it falls to, and once.
#[test]
fn bad_scans_are_set_aside_in_one_share() {
    let (tree, out) = (tree(), tempfile::tempdir().unwrap());
    fs::write(tree.path().join("others/broken.nii"), "no image").unwrap();
    fs::write(tree.path().join("others/alone.dcm"), "no DICOM").unwrap();
    fs::write(slice(&only(&only(&tree.path().join("dicom/PHANTOM-002"))), 20), "cut").unwrap();
    let none = tree.path().join("none");
    let mut reasons = Vec::new();
    for share in ["1/3", "2/3", "3/3"] {
        let scans = [tree.path(), none.as_path()];
        let ran = segment(&scans, out.path(), &["--shard", share, "--json"]);
        let aside = ran.json()["set_aside"].as_array().unwrap().clone();
        assert_eq!(ran.code, Some(if aside.is_empty() { 0 } else { 3 }), "{ran:?}");
        reasons.extend(aside);
    }
    let sources: BTreeSet<&str> = reasons.iter().map(|r| r["source"].as_str().unwrap()).collect();
    let broken = only(&only(&tree.path().join("dicom/PHANTOM-002")));
    let expected =
        ["others/broken.nii", "others/alone.dcm", "none"].map(|name| tree.path().join(name));
    let expected: BTreeSet<&str> =
        expected.iter().map(|path| text(path)).chain([text(&broken)]).collect();
    assert_eq!((reasons.len(), sources), (4, expected));
    let (scans, mut lists) = (scans_in(out.path()), names(out.path()));
    lists.retain(|name| name.starts_with("set_aside-"));
    assert_eq!(scans, ["PHANTOM-001", "PHANTOM-003", "first", "second"]);
    let rows = |list: &String| fs::read_to_string(out.path().join(list)).unwrap().lines().count();
    assert_eq!(lists.iter().map(|list| rows(list) - 1).sum::<usize>(), 4, "{lists:?}");
}

/// Files of one name in two folders: whole headers alike, but other voxels beside them.
#[test]
fn files_of_one_name_do_not_write_over_each_other() {
    let (tree, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (folder, patient) in [("a", 1), ("b", 2)] {
        fs::create_dir(tree.path().join(folder)).unwrap();
        let ct = CtVolume::new(volume(patient).voxels, volume(1).geometry);
        let path = tree.path().join(folder).join("ct.mhd");
        metaimage::write_ct(&path, &ct, Compression::None).unwrap();
    }
    let heads = ["a/ct.mhd", "b/ct.mhd"].map(|name| fs::read(tree.path().join(name)).unwrap());
    assert!(heads[0] == heads[1]);
    // One alone has the short name and keeps it.
    segment(&[&tree.path().join("b")], out.path(), &[]).done();
    assert_eq!(scans_in(out.path()), ["ct"]);
    let ran = segment(&[tree.path()], out.path(), &["--json"]).done();
    assert!(ran.err.contains("results go to ct_"), "{}", ran.err);
    let ran = ran.json();
    assert_eq!(ran["there_already"], serde_json::json!(["ct"]));
    let long = ran["scans"][0]["scan"].as_str().unwrap();
    assert!(long.starts_with("ct_") && long.len() == 11, "{long}");
    // Both in a new folder: each with the long name, whichever comes first.
    let both = tempfile::tempdir().unwrap();
    segment(&[tree.path()], both.path(), &[]).done();
    assert!(scans_in(both.path()).contains(&long.to_owned()) && scans_in(both.path()).len() == 2);
    assert!(!both.path().join("ct").exists());
}

/// Two series of one patient, in two calls and in one.
#[test]
fn series_of_one_patient_have_names_of_their_own() {
    let (tree, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let other = tree.path().join("other");
    made_up::copy(&series(2), &other);
    made_up::rewrite(&other, tags::PATIENT_ID, VR::LO, "PHANTOM-001");
    segment(&[&series(1)], out.path(), &[]).done();
    segment(&[&other], out.path(), &[]).done();
    let in_two = scans_in(out.path());
    assert_eq!(in_two.len(), 2);
    assert!(in_two[0] == "PHANTOM-001" && in_two[1].starts_with("PHANTOM-001_"), "{in_two:?}");
    // Together both would have long names, but they are there.
    let ran = segment(&[&series(1), &other], out.path(), &["--json"]).done().json();
    assert_eq!(ran["there_already"].as_array().unwrap().len(), 2);
    let both = tempfile::tempdir().unwrap();
    segment(&[&series(1), &other], both.path(), &[]).done();
    assert!(scans_in(both.path()).iter().all(|name| name.starts_with("PHANTOM-001_")));
}

#[test]
fn one_and_two_threads_give_the_same_bytes() {
    let runs = ["1", "2"].map(|threads| {
        let out = tempfile::tempdir().unwrap();
        let ran = made_up::dasl()
            .args(arguments(&[&series(1), &series(2)], out.path(), &[]))
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .unwrap();
        assert!(ran.status.success(), "{ran:?}");
        bytes(out.path())
    });
    assert!(runs[0].keys().any(|path| path.ends_with("nodules.seg.dcm")), "nothing was found");
    assert!(runs[0] == runs[1]);
}
