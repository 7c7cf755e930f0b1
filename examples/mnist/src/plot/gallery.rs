//! The gallery: feature maps side by side, each with lines of text below it.

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::canvas::{FONT, Picture, Surface, px};
use super::feature_map::{Axes, FeatureMap};

const COLUMNS: usize = 3;
/// Width and height of a map.
const MAP: (u32, u32) = (320, 330);
const LINE: u32 = 17;

/// A map with axes of its own, and what is written below it.
pub struct Panel {
    pub map: FeatureMap,
    pub lines: Vec<String>,
}

/// The panels row by row.
pub fn gallery(panels: &[Panel]) -> Result<Picture> {
    let columns = panels.len().clamp(1, COLUMNS);
    let rows = panels.len().div_ceil(columns).max(1);
    let lines = panels.iter().map(|panel| panel.lines.len()).max();
    let text = LINE * (lines.unwrap_or(0) as u32 + 1);
    let (width, height) = (MAP.0 * columns as u32, (MAP.1 + text) * rows as u32);
    Picture::draw(width, height, |surface| {
        for (area, panel) in surface.split_evenly((rows, columns)).iter().zip(panels) {
            let (map, below) = area.split_vertically(px(MAP.1));
            let axes = Axes::around([&panel.map].into_iter());
            panel
                .map
                .draw_on(&map, &axes)
                .map_err(|error| anyhow!("{error}"))?;
            draw_lines(&below, &panel.lines)?;
        }
        Ok(())
    })
}

fn draw_lines(surface: &Surface<'_>, lines: &[String]) -> Result<()> {
    let style = (FONT, px(12))
        .into_font()
        .color(&RGBColor(0x22, 0x22, 0x22))
        .pos(Pos::new(HPos::Center, VPos::Top));
    let (width, _) = surface.dim_in_pixel();
    for (line, index) in lines.iter().zip(0..) {
        let place = (width as i32 / 2, (index * px(LINE)) as i32);
        surface
            .draw(&Text::new(line.clone(), place, style.clone()))
            .map_err(|error| anyhow!("{error}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_map_looks_the_same_in_every_panel() {
        let panel = |_| Panel {
            map: FeatureMap {
                title: "softmax".to_owned(),
                points: (0..60)
                    .map(|i| (f64::from(i % 8), f64::from(i / 8)))
                    .collect(),
                labels: (0..60).map(|i| i % 10).collect(),
                names: (0..10).map(|class| class.to_string()).collect(),
                centers: vec![(3.0, 4.0)],
            },
            lines: vec!["class 0.99".to_owned()],
        };
        let picture = gallery(&Vec::from_iter((0..4).map(panel))).unwrap();
        let (width, height) = (MAP.0 as usize, MAP.1 as usize + 2 * LINE as usize);
        let part = |column, row| picture.part((column * width, row * height), (width, height));
        let first = part(0, 0);
        assert!(first.iter().any(|value| *value != 255));
        for (column, row) in [(1, 0), (2, 0), (0, 1)] {
            assert!(part(column, row) == first, "column {column}, row {row}");
        }
    }

    #[test]
    fn galleries_of_any_size_can_be_drawn() {
        for count in [0, 1, 4] {
            let panel = |_| Panel {
                map: FeatureMap {
                    title: "softmax".to_owned(),
                    points: vec![(0.0, 1.0), (1.0, 0.0)],
                    labels: vec![0, 1],
                    names: ["A", "b"].map(str::to_owned).to_vec(),
                    centers: vec![],
                },
                lines: vec!["class 0.99".to_owned(), "R-precision 0.9".to_owned()],
            };
            gallery(&Vec::from_iter((0..count).map(panel))).unwrap();
        }
    }
}
