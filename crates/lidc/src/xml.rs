//! Reading the LIDC-IDRI XML of one series.

use crate::{Characteristics, LidcError, NonNodule, ReaderNodule, Reading, Roi, Session};
use roxmltree::{Document, Node};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What a file of the collection holds.
#[derive(Debug, Clone, PartialEq)]
pub enum XmlKind {
    /// Outlines of a CT series (`LidcReadMessage`).
    Ct(Reading),
    /// Marks on a chest X-ray (`IdriReadMessage`): nothing for a CT.
    XRay,
}

/// Reads a reader's XML. Names are compared without their namespace, which differs between
/// the collection's releases.
///
/// # Errors
/// If the file cannot be read, is not well-formed, is no LIDC-IDRI reading, or lacks an element
/// that a reading must have; the message names the file, the line and the element.
pub fn read_xml(path: &Path) -> Result<XmlKind, LidcError> {
    let bytes =
        std::fs::read(path).map_err(|source| LidcError::Read { file: path.to_owned(), source })?;
    let not_xml = |why: String| LidcError::NotXml { file: path.to_owned(), why };
    let text = std::str::from_utf8(&bytes).map_err(|e| not_xml(format!("not UTF-8 ({e})")))?;
    let text = text.trim_start_matches('\u{feff}');
    let doc = Document::parse(text).map_err(|e| not_xml(e.to_string()))?;
    let root = doc.root_element();
    match root.tag_name().name() {
        "LidcReadMessage" => File { path, doc: &doc }.reading(root).map(XmlKind::Ct),
        "IdriReadMessage" => Ok(XmlKind::XRay),
        other => Err(LidcError::OtherXml { file: path.to_owned(), root: other.to_owned() }),
    }
}

/// The file being read: every complaint names it.
struct File<'a> {
    path: &'a Path,
    doc: &'a Document<'a>,
}

impl<'a> File<'a> {
    fn reading(&self, root: Node<'a, 'a>) -> Result<Reading, LidcError> {
        let header = self.child(root, "ResponseHeader")?;
        let series_uid = self.text(header, "SeriesInstanceUid")?;
        if series_uid.is_empty() {
            return Err(self.wrong(header, "<SeriesInstanceUid> is empty".to_owned()));
        }
        let study_uid = find(header, "StudyInstanceUID")
            .map(|n| n.text().unwrap_or_default().trim().to_owned())
            .filter(|uid| !uid.is_empty());
        let sessions = children(root, "readingSession")
            .enumerate()
            .map(|(reader, node)| self.session(reader, node))
            .collect::<Result<_, _>>()?;
        Ok(Reading { series_uid, study_uid, sessions })
    }

    fn session(&self, reader: usize, node: Node<'a, 'a>) -> Result<Session, LidcError> {
        let nodules = children(node, "unblindedReadNodule")
            .map(|n| self.nodule(n))
            .collect::<Result<_, _>>()?;
        let non_nodules =
            children(node, "nonNodule").map(|n| self.non_nodule(n)).collect::<Result<_, _>>()?;
        Ok(Session { reader, nodules, non_nodules })
    }

    fn nodule(&self, node: Node<'a, 'a>) -> Result<ReaderNodule, LidcError> {
        // Some readers' files hold an empty <characteristics/> on nodules below 3 mm.
        let characteristics = find(node, "characteristics")
            .filter(|c| c.children().any(|n| n.is_element()))
            .map(|c| self.characteristics(c))
            .transpose()?;
        let rois = children(node, "roi").map(|n| self.roi(n)).collect::<Result<_, _>>()?;
        Ok(ReaderNodule { id: self.text(node, "noduleID")?, characteristics, rois })
    }

    fn characteristics(&self, node: Node<'a, 'a>) -> Result<Characteristics, LidcError> {
        Ok(Characteristics {
            subtlety: self.parse(node, "subtlety")?,
            internal_structure: self.parse(node, "internalStructure")?,
            calcification: self.parse(node, "calcification")?,
            sphericity: self.parse(node, "sphericity")?,
            margin: self.parse(node, "margin")?,
            lobulation: self.parse(node, "lobulation")?,
            spiculation: self.parse(node, "spiculation")?,
            texture: self.parse(node, "texture")?,
            malignancy: self.parse(node, "malignancy")?,
        })
    }

    fn roi(&self, node: Node<'a, 'a>) -> Result<Roi, LidcError> {
        let inclusion = match self.text(node, "inclusion")?.to_ascii_lowercase().as_str() {
            "true" => true,
            "false" => false,
            other => {
                let what = format!("<inclusion> is {other:?}, must be TRUE or FALSE");
                return Err(self.wrong(node, what));
            }
        };
        let points =
            children(node, "edgeMap").map(|n| self.point(n)).collect::<Result<Vec<_>, _>>()?;
        if points.is_empty() {
            return Err(self.wrong(node, "<roi> has no <edgeMap> point".to_owned()));
        }
        Ok(Roi { inclusion, z_mm: self.z_mm(node)?, sop_uid: self.sop_uid(node)?, points })
    }

    fn non_nodule(&self, node: Node<'a, 'a>) -> Result<NonNodule, LidcError> {
        Ok(NonNodule {
            id: self.text(node, "nonNoduleID")?,
            z_mm: self.z_mm(node)?,
            sop_uid: self.sop_uid(node)?,
            point: self.point(self.child(node, "locus")?)?,
        })
    }

    fn point(&self, node: Node<'a, 'a>) -> Result<[i32; 2], LidcError> {
        Ok([self.parse(node, "xCoord")?, self.parse(node, "yCoord")?])
    }

    fn sop_uid(&self, node: Node<'a, 'a>) -> Result<String, LidcError> {
        self.text(node, "imageSOP_UID")
    }

    fn z_mm(&self, node: Node<'a, 'a>) -> Result<f64, LidcError> {
        let z: f64 = self.parse(node, "imageZposition")?;
        if z.is_finite() {
            return Ok(z);
        }
        Err(self.wrong(node, format!("<imageZposition> is {z}, must be a position in mm")))
    }

    fn parse<T: FromStr>(&self, node: Node<'a, 'a>, name: &str) -> Result<T, LidcError> {
        let text = self.text(node, name)?;
        text.parse().map_err(|_| {
            let kind = std::any::type_name::<T>();
            self.wrong(node, format!("<{name}> is {text:?}, must be a number ({kind})"))
        })
    }

    fn text(&self, node: Node<'a, 'a>, name: &str) -> Result<String, LidcError> {
        Ok(self.child(node, name)?.text().unwrap_or_default().trim().to_owned())
    }

    fn child(&self, node: Node<'a, 'a>, name: &str) -> Result<Node<'a, 'a>, LidcError> {
        find(node, name).ok_or_else(|| {
            self.wrong(node, format!("<{}> has no <{name}>", node.tag_name().name()))
        })
    }

    fn wrong(&self, node: Node<'a, 'a>, what: String) -> LidcError {
        let line = self.doc.text_pos_at(node.range().start).row;
        LidcError::Element { file: PathBuf::from(self.path), line, what }
    }
}

fn find<'a>(node: Node<'a, 'a>, name: &str) -> Option<Node<'a, 'a>> {
    node.children().find(|n| n.is_element() && n.tag_name().name().eq_ignore_ascii_case(name))
}

fn children<'a>(node: Node<'a, 'a>, name: &'static str) -> impl Iterator<Item = Node<'a, 'a>> {
    node.children().filter(move |n| n.is_element() && n.tag_name().name() == name)
}
