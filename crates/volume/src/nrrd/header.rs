//! The header of an NRRD: lines of `field: value` up to an empty one, or to the end of a `.nhdr`.

use super::field;
use crate::geometry::{Geometry, PointMm};
use crate::voxel_file::{
    Encoding, Header, HeaderError, Layout, Sample, Start, UNSCALED, numbers, quoted, sizes,
};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Reads a header from the beginning of a file.
///
/// Takes no more memory than a few times `bytes`, whatever they are.
///
/// # Errors
/// A [`HeaderError`] if it is damaged, or of an image that is not read.
pub fn parse_header(bytes: &[u8]) -> Result<Header, HeaderError> {
    let fields = Fields::read(bytes)?;
    let data_file = fields.data_file()?;
    fields.refuse_other_images()?;
    let sample = field::sample(fields.needed("type")?)?;
    let shape = sizes("sizes", fields.needed("sizes")?, sample.bytes())?;
    let (start, encoding) = fields.packing()?;
    let layout = Layout {
        header_bytes: fields.length,
        line_skip: fields.line_skip()?,
        start,
        encoding,
        sample,
        big_endian: fields.big_endian(sample)?,
        scale: UNSCALED,
    };
    if data_file.is_none() && !fields.ended {
        return Err(HeaderError::Endless);
    }
    Ok(Header { geometry: fields.geometry(shape)?, data_file, layout })
}

/// The fields of a header, its length and whether an empty line ended it.
struct Fields {
    values: BTreeMap<&'static str, String>,
    length: u64,
    ended: bool,
}

impl Fields {
    fn read(bytes: &[u8]) -> Result<Self, HeaderError> {
        let mut lines = bytes.split_inclusive(|b| *b == b'\n');
        let magic = lines.next().unwrap_or_default();
        let version = magic.trim_ascii_end().strip_prefix(b"NRRD000");
        if !matches!(version, Some([b'1'..=b'5'])) {
            return Err(HeaderError::NotThis("NRRD"));
        }
        let length = magic.len() as u64;
        let mut fields = Self { values: BTreeMap::new(), length, ended: false };
        for (number, line) in lines.enumerate() {
            fields.length += line.len() as u64;
            let whole = line.ends_with(b"\n");
            let line = line.trim_ascii();
            if line.is_empty() {
                fields.ended = whole;
                break;
            }
            if line.starts_with(b"#") {
                continue;
            }
            let damaged = || HeaderError::Line(number + 2);
            let sign = line.iter().position(|b| *b == b':').ok_or_else(damaged)?;
            let (name, value) = (&line[..sign], &line[sign + 1..]);
            if value.starts_with(b"=") {
                continue;
            }
            let name = std::str::from_utf8(name).ok().and_then(field::name).ok_or_else(damaged)?;
            let value = String::from_utf8_lossy(value.trim_ascii()).into_owned();
            let list = name == "data file" && value.split_ascii_whitespace().next() == Some("LIST");
            if fields.values.insert(name, value).is_some() {
                return Err(HeaderError::Twice(name));
            }
            // File names follow, not fields.
            if list {
                break;
            }
        }
        Ok(fields)
    }

    fn get(&self, name: &'static str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    fn needed(&self, name: &'static str) -> Result<&str, HeaderError> {
        self.get(name).ok_or(HeaderError::Missing(name))
    }

    /// What would be read wrongly is refused here.
    fn refuse_other_images(&self) -> Result<(), HeaderError> {
        let dimension = self.needed("dimension")?;
        if dimension != "3" {
            let todo = "give one three-dimensional image";
            return Err(HeaderError::unsupported("dimension", dimension, todo));
        }
        if let Some(kinds) = self.get("kinds") {
            let space = ["domain", "space", "none", "???"];
            let other = |kind: &&str| !space.iter().any(|s| s.eq_ignore_ascii_case(kind));
            if let Some(kind) = kinds.split_ascii_whitespace().find(other) {
                let todo = "give an image with three axes of space";
                return Err(HeaderError::unsupported("an axis of kind", kind, todo));
            }
        }
        for name in ["units", "space units"] {
            let mut units = self.get(name).into_iter().flat_map(quoted);
            if let Some(unit) = units.find(|unit| !["mm", "", "???"].contains(&unit.trim())) {
                return Err(HeaderError::unsupported(name, unit, "write it in millimetres"));
            }
        }
        Ok(())
    }

    fn big_endian(&self, sample: Sample) -> Result<bool, HeaderError> {
        if sample.bytes() == 1 {
            return Ok(false);
        }
        let endian = self.needed("endian")?;
        match endian.to_ascii_lowercase().as_str() {
            "little" => Ok(false),
            "big" => Ok(true),
            _ => Err(HeaderError::value("endian", endian, "little or big")),
        }
    }

    fn packing(&self) -> Result<(Start, Encoding), HeaderError> {
        let text = self.get("byte skip").unwrap_or("0");
        let wanted = "a number of bytes or -1";
        let wrong = || HeaderError::value("byte skip", text, wanted);
        let skip = text.parse::<i64>().ok().filter(|skip| *skip >= -1).ok_or_else(wrong)?;
        let encoding = self.needed("encoding")?;
        match (encoding.to_ascii_lowercase().as_str(), u64::try_from(skip)) {
            ("raw", Ok(bytes)) => Ok((Start::After(bytes), Encoding::Raw)),
            ("raw", Err(_)) => Ok((Start::AtEnd, Encoding::Raw)),
            // There the skipped bytes are part of the stream, the skipped lines are not.
            ("gzip" | "gz", Ok(skip)) => {
                Ok((Start::After(0), Encoding::Deflate { skip, length: None }))
            }
            ("gzip" | "gz", Err(_)) => {
                let todo = "give the number of bytes before the voxels";
                Err(HeaderError::unsupported("byte skip of a gzip stream", text, todo))
            }
            _ => Err(HeaderError::unsupported("encoding", encoding, "write it as raw or gzip")),
        }
    }

    fn line_skip(&self) -> Result<u64, HeaderError> {
        let text = self.get("line skip").unwrap_or("0");
        text.parse().map_err(|_| HeaderError::value("line skip", text, "a number of lines"))
    }

    fn data_file(&self) -> Result<Option<PathBuf>, HeaderError> {
        let Some(name) = self.get("data file") else { return Ok(None) };
        // A pattern is "slice%03d.raw 1 100 1", a list "LIST" and names below it.
        if name.contains('%') || name.split_ascii_whitespace().next() == Some("LIST") {
            let todo = "write the voxels into one file, as .nrrd";
            return Err(HeaderError::unsupported("data file", name, todo));
        }
        if name.is_empty() {
            return Err(HeaderError::value("data file", name, "a file's name"));
        }
        Ok(Some(PathBuf::from(name)))
    }

    fn geometry(&self, shape: [usize; 3]) -> Result<Geometry, HeaderError> {
        let (size, directions, origin) = match self.get("space") {
            Some(space) => self.in_space(field::to_lps(space)?)?,
            None => self.without_space()?,
        };
        let [x, y, z] = directions;
        let origin = PointMm::new(origin[0], origin[1], origin[2]);
        Geometry::from_directions(shape, [size[2], size[1], size[0]], [z, y, x], origin)
            .map_err(HeaderError::Geometry)
    }

    /// Voxel size and directions of the axes x, y, z, and the first voxel's centre.
    fn in_space(&self, to_lps: [f64; 3]) -> Result<Grid, HeaderError> {
        if self.get("spacings").is_some() {
            return Err(HeaderError::Contradiction("spacings", "space directions"));
        }
        let lps = |v: [f64; 3]| std::array::from_fn(|i| v[i] * to_lps[i]);
        let directions = field::vectors::<3>("space directions", self.needed("space directions")?)?;
        let [origin] = match self.get("space origin") {
            Some(text) => field::vectors::<1>("space origin", text)?,
            None => [[0.0; 3]],
        };
        Ok(([1.0; 3], directions.map(lps), lps(origin)))
    }

    fn without_space(&self) -> Result<Grid, HeaderError> {
        // Vectors in a space without a name do not say where left is.
        if ["space dimension", "space directions", "space origin"]
            .into_iter()
            .any(|name| self.get(name).is_some())
        {
            return Err(HeaderError::Missing("space"));
        }
        // The outer face of the first voxel or its centre, as `centers` says or leaves open.
        let nowhere = |word: &str| word.parse::<f64>().is_ok_and(f64::is_nan);
        if let Some(text) = self.get("axis mins")
            && !text.split_ascii_whitespace().all(nowhere)
        {
            let todo = "write it with space, space directions and space origin";
            return Err(HeaderError::unsupported("axis mins", text, todo));
        }
        let spacings = numbers::<3>("spacings", self.needed("spacings")?)?;
        let unit = |i: usize| std::array::from_fn(|j| if i == j { 1.0 } else { 0.0 });
        Ok((spacings, [unit(0), unit(1), unit(2)], [0.0; 3]))
    }
}

/// Voxel size and directions of the axes x, y, z, and the first voxel's centre.
type Grid = ([f64; 3], [[f64; 3]; 3], [f64; 3]);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SLICER: &str = "NRRD0005\n# Complete NRRD file format specification at:\n\
        # http://teem.sourceforge.net/nrrd/format.html\ntype: short\ndimension: 3\n\
        space: left-posterior-superior\nsizes: 512 511 133\n\
        space directions: (0.703125,0,0) (0,0.703125,0) (0,0,2.5)\n\
        kinds: domain domain domain\nendian: little\nencoding: gzip\n\
        space origin: (-166,-171.7,-340)\nkey with:=a value\n\n";

    fn with(change: &str, to: &str) -> Result<Header, HeaderError> {
        assert!(SLICER.contains(change), "{change}");
        parse_header(SLICER.replacen(change, to, 1).as_bytes())
    }

    #[test]
    fn a_header_is_read() {
        let voxels = [SLICER.as_bytes(), b"\x1f\x8b\n\n"].concat();
        let header = parse_header(&voxels).unwrap();
        let g = header.geometry;
        let spacing_mm = [2.5, 0.703_125, 0.703_125];
        let origin = PointMm::new(-166.0, -171.7, -340.0);
        assert_eq!(g, Geometry::axial([133, 511, 512], spacing_mm, origin));
        assert_eq!(header.data_file, None);
        assert_eq!(header.layout.header_bytes, SLICER.len() as u64);
        assert_eq!(header.layout.encoding, Encoding::Deflate { skip: 0, length: None });
    }

    #[test]
    fn spaces_are_turned_into_lps() {
        let ras = with("left-posterior-superior", "right-anterior-superior").unwrap().geometry;
        assert_eq!(ras.axes, [[0., 0., 1.], [0., -1., 0.], [-1., 0., 0.]]);
        assert_eq!(ras.origin_mm, PointMm::new(166.0, 171.7, -340.0));
        let las = with("left-posterior-superior", "LAS").unwrap().geometry;
        assert_eq!(las.axes, [[0., 0., 1.], [0., -1., 0.], [1., 0., 0.]]);
        assert_eq!(las.origin_mm, PointMm::new(-166.0, 171.7, -340.0));
    }

    #[test]
    fn plain_spacings_run_along_the_patient() {
        let text = "NRRD0001\ntype: uint8\ndimension: 3\nsizes: 4 3 2\nspacings: 0.7 0.8 2.5\n\
            encoding: raw\nline skip: 2\nbyte skip: 7\ndatafile: a folder/a.raw";
        let header = parse_header(text.as_bytes()).unwrap();
        assert_eq!(
            header.geometry,
            Geometry::axial([2, 3, 4], [2.5, 0.8, 0.7], PointMm::new(0., 0., 0.))
        );
        assert_eq!(header.data_file, Some(PathBuf::from("a folder/a.raw")));
        assert_eq!((header.layout.line_skip, header.layout.start), (2, Start::After(7)));
        let attached = text.replace("\ndatafile: a folder/a.raw", "");
        assert_eq!(parse_header(attached.as_bytes()), Err(HeaderError::Endless));
        let moved = text.replace("line skip", "axis mins: 0 0 0\nline skip");
        assert_eq!(
            parse_header(moved.as_bytes()).unwrap_err().to_string(),
            "axis mins 0 0 0 is not read; write it with space, space directions and space origin"
        );
    }

    #[test]
    fn what_is_not_read_is_told() {
        // What is wrong; the rest of a message says what to do.
        let cases = [
            ("n: 3", "n: 4", "dimension 4 is not read"),
            ("type: short", "type: block", "type block is not read"),
            ("gzip", "bzip2", "encoding bzip2 is not read"),
            ("gzip", "ascii", "encoding ascii is not read"),
            ("gzip", "hex", "encoding hex is not read"),
            ("gzip", "gzip\nbyte skip: -1", "byte skip of a gzip stream -1 is not read"),
            ("gzip", "raw\nbyte skip: -2", "byte skip is \"-2\", not a number of bytes or -1"),
            ("gzip", "raw\nline skip: -1", "line skip is \"-1\", not a number of lines"),
            ("little", "middle", "endian is \"middle\", not little or big"),
            ("511 133", "511", "sizes is \"512 511\", not three whole numbers above 0"),
            ("left-posterior-superior", "scanner-xyz", "space scanner-xyz is not read"),
            ("space: left-posterior-superior", "space dimension: 3", "the header has no space"),
            ("(0,0,2.5)", "(0,1,2.5)", "the header's axes are sheared"),
            ("(0,0,2.5)", "(0,0,0)", "the header has no valid voxel size or origin"),
            ("kinds: domain", "kinds: RGB-color", "an axis of kind RGB-color is not read"),
            ("kinds", "space units: \"mm\" \"m\"\nkinds", "space units m is not read"),
            ("kinds", "kind", "line 9 of the header is no field"),
            ("little", "little\nENDIAN: big", "the header has endian twice"),
            ("gzip", "gzip\ndata file: LIST\na.raw", "data file LIST is not read"),
            ("gzip", "gzip\ndata file: s%d.raw 1 9 1", "data file s%d.raw 1 9 1 is not read"),
            ("NRRD0005", "NRRD0006", "this is no NRRD header"),
        ];
        let told = |change: &str, to: &str| {
            with(change, to).map_or_else(|error| error.to_string(), |_| String::new())
        };
        for (change, to, message) in cases {
            let text = told(change, to);
            let (wrong, todo) = text.split_once("; ").unwrap_or((&text, ""));
            assert_eq!(wrong, message, "{change} -> {to}");
            assert!(!todo.is_empty());
        }
        for field in ["dimension", "type", "encoding", "endian", "sizes", "space directions"] {
            assert_eq!(
                told(&format!("\n{field}:"), "\n#"),
                format!(
                    "the header has no {field}; add it, or write the file again with a tool that does"
                )
            );
        }
        assert_eq!(
            told("512 511 133", "4000000000 4000000000 1"),
            "[1, 4000000000, 4000000000] voxels are more than any file holds; correct the header"
        );
        assert_eq!(
            told("kinds", "spacings: 1 1 1\nkinds"),
            "spacings and space directions say different things of the same; delete one of them"
        );
        assert_eq!(
            told("(0,0,2.5)", "none"),
            "space directions is \"(0.703125,0,0) (0,0.703125,0) none\", not three vectors \
             (x,y,z); correct the header"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse_header(&bytes);
            let _ = parse_header(&[b"NRRD0004\n", bytes.as_slice()].concat());
        }

        #[test]
        fn no_change_of_a_header_makes_it_panic(
            at in 0..SLICER.len(), byte in any::<u8>(), cut in 0..SLICER.len(),
        ) {
            let mut bytes = SLICER.as_bytes().to_vec();
            bytes[at] = byte;
            let _ = parse_header(&bytes);
            // Without the empty line at its end no voxels follow.
            prop_assert!(parse_header(&SLICER.as_bytes()[..cut]).is_err());
        }
    }
}
