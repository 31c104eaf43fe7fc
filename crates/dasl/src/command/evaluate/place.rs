//! Where folders lie, as seen from another: so that a tree of results can be moved as a whole.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

/// The way from `folder` to `target`, which both exist; absolute where they have only the root in
/// common.
///
/// # Errors
/// If one of them does not exist.
pub fn seen_from(folder: &Path, target: &Path) -> Result<PathBuf> {
    // Links resolved: `..` of a link is not where the link stands.
    let full = |path: &Path| path.canonicalize().with_context(|| path.display().to_string());
    let (folder, target) = (full(folder)?, full(target)?);
    let shared = folder.components().zip(target.components()).take_while(|(a, b)| a == b);
    let shared = shared.filter(|(part, _)| matches!(part, Component::Normal(_))).count();
    if shared == 0 {
        return Ok(target);
    }
    let named = |path: &Path| -> Vec<PathBuf> {
        let parts = path.components().filter(|part| matches!(part, Component::Normal(_)));
        parts.skip(shared).map(|part| PathBuf::from(part.as_os_str())).collect()
    };
    let up = named(&folder).into_iter().map(|_| PathBuf::from(".."));
    let way: PathBuf = up.chain(named(&target)).collect();
    Ok(if way.as_os_str().is_empty() { PathBuf::from(".") } else { way })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_leads_there() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| {
            let path = root.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            path
        };
        let way = |folder: &str, target: &str| seen_from(&at(folder), &at(target)).unwrap();
        assert_eq!(way("found", "found"), PathBuf::from("."));
        assert_eq!(way("found", "dataset"), PathBuf::from("../dataset"));
        assert_eq!(way("a/b", "c/d"), PathBuf::from("../../c/d"));
        assert_eq!(way("a", "a/b"), PathBuf::from("b"));
        assert!(seen_from(root.path(), Path::new("/")).unwrap().is_absolute());
        let error = seen_from(root.path(), &root.path().join("nothing")).unwrap_err();
        assert!(error.to_string().contains("nothing"));
    }
}
