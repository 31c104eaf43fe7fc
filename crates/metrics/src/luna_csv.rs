//! LUNA16's lists: marks, annotations and series, separated by commas or tabs.

use std::io::Read;
use std::str::FromStr;

use csv::StringRecord;

use crate::froc::{Annotation, Mark};

/// The column of the scans' ids.
const SERIES: &str = "seriesuid";

/// How ids of scans are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanIds {
    /// As they are written, as series instance UIDs must be.
    AsWritten,
    /// As whole numbers, so that `00783` and `783` are one scan; other ids are kept as written.
    Integers,
}

impl ScanIds {
    /// What a scan with this id is known by.
    pub fn read(self, id: &str) -> String {
        match self {
            Self::Integers if !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()) => {
                let digits = id.trim_start_matches('0');
                if digits.is_empty() { "0".to_owned() } else { digits.to_owned() }
            }
            _ => id.to_owned(),
        }
    }
}

/// Why a list could not be read. `list` is the name that the caller gave it.
#[derive(Debug, thiserror::Error)]
pub enum LunaCsvError {
    /// Not a table.
    #[error("{list}: cannot be read as a table; it must be UTF-8 with commas or tabs")]
    Table {
        /// Name of the list.
        list: String,
        /// What the reader met.
        source: csv::Error,
    },
    /// The bytes could not be read.
    #[error("{list}: cannot be read")]
    Io {
        /// Name of the list.
        list: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A column is not there.
    #[error("{list}: has no column {column}; its header must name it")]
    MissingColumn {
        /// Name of the list.
        list: String,
        /// The column.
        column: &'static str,
    },
    /// A field is no number.
    #[error("{list}, line {line}: {column} is {found:?}, not a finite number; correct the line")]
    NotANumber {
        /// Name of the list.
        list: String,
        /// Line of the list, from 1.
        line: u64,
        /// The column.
        column: &'static str,
        /// What is there.
        found: String,
    },
}

/// Reads a detector's marks: columns `seriesuid`, `coordX`, `coordY`, `coordZ`, `probability`, in
/// any order, coordinates in patient millimetres. `list` names the list in errors.
///
/// # Errors
/// If a column is missing or a field is not a finite number; the error says which and where.
pub fn read_marks(list: &str, source: impl Read, ids: ScanIds) -> Result<Vec<Mark>, LunaCsvError> {
    let table = Table::read(list, source)?;
    let id = table.column(SERIES)?;
    let centre = table.centre_columns()?;
    let probability = table.column("probability")?;
    table
        .rows
        .iter()
        .map(|row| {
            Ok(Mark {
                scan: ids.read(id.text(row)),
                centre_mm: table.centre_mm(row, centre)?,
                probability: table.number(row, probability)?,
            })
        })
        .collect()
}

/// Reads annotated or excluded findings: columns `seriesuid`, `coordX`, `coordY`, `coordZ`,
/// `diameter_mm`, in any order. `list` names the list in errors.
///
/// # Errors
/// If a column is missing or a field is not a finite number; the error says which and where.
pub fn read_annotations(
    list: &str,
    source: impl Read,
    ids: ScanIds,
) -> Result<Vec<Annotation>, LunaCsvError> {
    let table = Table::read(list, source)?;
    let id = table.column(SERIES)?;
    let centre = table.centre_columns()?;
    let diameter = table.column("diameter_mm")?;
    table
        .rows
        .iter()
        .map(|row| {
            Ok(Annotation {
                scan: ids.read(id.text(row)),
                centre_mm: table.centre_mm(row, centre)?,
                diameter_mm: table.number(row, diameter)?,
            })
        })
        .collect()
}

/// Reads the evaluated scans: one id a line and no header, as in LUNA16's `seriesuids.csv`. What
/// follows the id after a comma or tab, and a first line that names a column of series UIDs, are passed
/// over. `list` names the list in errors.
///
/// # Errors
/// If the list can't be read as text.
pub fn read_scan_ids(
    list: &str,
    mut source: impl Read,
    ids: ScanIds,
) -> Result<Vec<String>, LunaCsvError> {
    let mut text = String::new();
    source
        .read_to_string(&mut text)
        .map_err(|source| LunaCsvError::Io { list: list.to_owned(), source })?;
    let first_field = |line: &str| {
        let field = line.split([',', '\t']).next().unwrap_or_default();
        field.trim().trim_matches('"').to_owned()
    };
    let lines = text.trim_start_matches('\u{feff}').lines().map(first_field);
    let is_header = |line: &str| {
        let name = line.to_ascii_lowercase().replace('_', "");
        name == SERIES || name == "seriesinstanceuid"
    };
    let named = lines.enumerate().filter(|(i, id)| !(id.is_empty() || *i == 0 && is_header(id)));
    Ok(named.map(|(_, id)| ids.read(&id)).collect())
}

/// A column by its place and name.
#[derive(Clone, Copy)]
struct Column {
    index: usize,
    name: &'static str,
}

impl Column {
    fn text(self, row: &StringRecord) -> &str {
        row.get(self.index).unwrap_or_default()
    }
}

/// A list with a header.
struct Table {
    list: String,
    header: StringRecord,
    rows: Vec<StringRecord>,
}

impl Table {
    fn read(list: &str, mut source: impl Read) -> Result<Self, LunaCsvError> {
        let list = list.to_owned();
        let mut bytes = Vec::new();
        if let Err(source) = source.read_to_end(&mut bytes) {
            return Err(LunaCsvError::Io { list, source });
        }
        let first_line = bytes.split(|&b| b == b'\n').next().unwrap_or_default();
        let delimiter = if first_line.contains(&b'\t') { b'\t' } else { b',' };
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .trim(csv::Trim::All)
            .from_reader(bytes.as_slice());
        let header = match reader.headers() {
            Ok(header) => header.clone(),
            Err(source) => return Err(LunaCsvError::Table { list, source }),
        };
        match reader.records().collect() {
            Ok(rows) => Ok(Self { list, header, rows }),
            Err(source) => Err(LunaCsvError::Table { list, source }),
        }
    }

    fn column(&self, name: &'static str) -> Result<Column, LunaCsvError> {
        self.header
            .iter()
            .position(|h| h == name)
            .map(|index| Column { index, name })
            .ok_or_else(|| LunaCsvError::MissingColumn { list: self.list.clone(), column: name })
    }

    fn centre_columns(&self) -> Result<[Column; 3], LunaCsvError> {
        Ok([self.column("coordX")?, self.column("coordY")?, self.column("coordZ")?])
    }

    fn number(&self, row: &StringRecord, column: Column) -> Result<f64, LunaCsvError> {
        let text = column.text(row);
        f64::from_str(text).ok().filter(|n| n.is_finite()).ok_or_else(|| LunaCsvError::NotANumber {
            list: self.list.clone(),
            line: row.position().map_or(0, csv::Position::line),
            column: column.name,
            found: text.to_owned(),
        })
    }

    fn centre_mm(
        &self,
        row: &StringRecord,
        [x, y, z]: [Column; 3],
    ) -> Result<[f64; 3], LunaCsvError> {
        Ok([self.number(row, x)?, self.number(row, y)?, self.number(row, z)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tabs_commas_and_any_order() {
        let comma = "seriesuid,coordX,coordY,coordZ,probability\n1.2.3,-1.5,2,3e1,0.25\n";
        let tab = "probability\tcoordZ\tcoordY\tcoordX\tseriesuid\n0.25\t30\t2\t-1.5\t1.2.3\n";
        let expected =
            Mark { scan: "1.2.3".into(), centre_mm: [-1.5, 2.0, 30.0], probability: 0.25 };
        for text in [comma, tab] {
            let marks =
                read_marks("marks.csv", text.as_bytes(), ScanIds::AsWritten).expect("marks");
            assert_eq!(marks, std::slice::from_ref(&expected));
        }
    }

    #[test]
    fn ids_as_integers() {
        let read = |ids| read_scan_ids("ids", "00783\n0\n1.2\n\n".as_bytes(), ids).expect("ids");
        assert_eq!(read(ScanIds::Integers), ["783", "0", "1.2"]);
        assert_eq!(read(ScanIds::AsWritten), ["00783", "0", "1.2"]);
    }

    #[test]
    fn further_columns_and_a_header_are_passed_over() {
        let marks = "id,seriesuid,coordX,coordY,coordZ,probability,note\n7,a,1,2,3,0.5,\"x, y\"\n";
        let marks = read_marks("m.csv", marks.as_bytes(), ScanIds::AsWritten).expect("marks");
        assert_eq!((marks[0].scan.as_str(), marks[0].centre_mm), ("a", [1.0, 2.0, 3.0]));
        for text in [
            "seriesuid\n1.2\n1.3\n",
            "\u{feff}1.2,x\r\n1.3,y\r\n",
            "\"1.2\"\t0\n1.3\n",
            "series_uid,patient_id\n1.2,a\n1.3,b\n",
            "SeriesInstanceUID\n1.2\n1.3\n",
        ] {
            let ids = read_scan_ids("ids", text.as_bytes(), ScanIds::AsWritten).expect("ids");
            assert_eq!(ids, ["1.2", "1.3"]);
        }
    }

    #[test]
    fn errors_say_where() {
        let text = "seriesuid,coordX,coordY,coordZ,diameter_mm\n1,0,0,0,5\n1,0,NaN,0,5\n";
        let error =
            read_annotations("a.csv", text.as_bytes(), ScanIds::AsWritten).expect_err("NaN");
        assert_eq!(
            error.to_string(),
            "a.csv, line 3: coordY is \"NaN\", not a finite number; correct the line"
        );
        let error = read_marks("m.csv", text.as_bytes(), ScanIds::AsWritten).expect_err("column");
        assert!(error.to_string().contains("no column probability"));
        let ragged = "seriesuid,coordX\n1\n";
        assert!(read_marks("m.csv", ragged.as_bytes(), ScanIds::AsWritten).is_err());
        assert!(read_marks("m.csv", &[][..], ScanIds::AsWritten).is_err());
    }
}
