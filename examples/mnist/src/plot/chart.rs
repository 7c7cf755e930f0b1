//! Charts of lines, curves over the epochs and ROC curves. And the confusion matrix: a square for every label and
//! prediction, darker the more of the label's samples it has.

use anyhow::Result;
use plotters::prelude::*;
use serde::Serialize;

use super::canvas::{
    INK, LINE, Picture, SOFT, Surface, centered, class_colour, draw_axes, px, text,
};

/// Points nearer to the last one than this part of both axes are not drawn.
const RESOLUTION: f64 = 1e-3;

/// Lines over two axes.
#[derive(Serialize)]
pub struct Chart {
    pub title: String,
    /// What is to the right and what is up.
    pub axes: [String; 2],
    pub series: Vec<Series>,
    /// Whether this is a ROC curve, with both axes from 0 to 1 and the line of chance.
    pub is_roc: bool,
}

/// A line and its name.
#[derive(Serialize)]
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// Draws `charts` side by side, each of them so large. Legends are where rising curves leave room, or falling ones for
/// losses.
pub fn charts(charts: &[Chart], (width, height): (u32, u32)) -> Result<Picture> {
    Picture::draw(width * charts.len() as u32, height, |surface| {
        let panels = surface.split_evenly((1, charts.len()));
        let mut charts = charts.iter().zip(&panels);
        charts.try_for_each(|(chart, panel)| chart.draw(panel))
    })
}

impl Chart {
    fn draw(&self, surface: &Surface<'_>) -> Result<()> {
        let span = |coordinate: fn(&(f64, f64)) -> f64, margin: f64| {
            let points = self.series.iter().flat_map(|series| &series.points);
            let values = points.map(coordinate);
            let low = values.clone().fold(f64::INFINITY, f64::min);
            let high = values.fold(f64::NEG_INFINITY, f64::max);
            let margin = margin.max((high - low) * 0.08);
            low - margin..high + margin
        };
        let (x, y) = match self.is_roc {
            true => (0.0..1.0, 0.0..1.0),
            false => (span(|point| point.0, 0.5), span(|point| point.1, 1e-3)),
        };
        if !(y.start.is_finite() && y.end.is_finite()) {
            return Ok(());
        }
        let spans = [x.end - x.start, y.end - y.start];
        let mut chart = ChartBuilder::on(surface)
            .caption(&self.title, text(15.0, &INK))
            .margin(px(10))
            .x_label_area_size(px(38))
            .y_label_area_size(px(58))
            .build_cartesian_2d(x, y)?;
        let epochs = if self.is_roc { 10 } else { spans[0] as usize };
        let names = self.axes.each_ref().map(String::as_str);
        draw_axes(&mut chart, names, [epochs.clamp(1, 10), 6], 12.0)?;
        let sample =
            |(x, y): (i32, i32), style| PathElement::new([(x, y), (x + px(16) as i32, y)], style);
        if self.is_roc {
            let style = LINE.stroke_width(px(1));
            let chance = [(0.0, 0.0), (1.0, 1.0)];
            chart
                .draw_series(LineSeries::new(chance, style))?
                .label("chance, AUC 0.5000")
                .legend(move |place| sample(place, style));
        }
        for (index, Series { name, points }) in self.series.iter().enumerate() {
            let style = class_colour(index).stroke_width(px(2));
            let points = thinned(points, spans);
            if !self.is_roc {
                let dot = |&point: &(f64, f64)| Circle::new(point, px(3), style.filled());
                chart.draw_series(points.iter().map(dot))?;
            }
            chart
                .draw_series(LineSeries::new(points, style))?
                .label(name)
                .legend(move |place| sample(place, style));
        }
        let corner = match self.title.as_str() {
            "loss" => SeriesLabelPosition::UpperRight,
            _ => SeriesLabelPosition::LowerRight,
        };
        chart
            .configure_series_labels()
            .legend_area_size(px(22))
            .margin(px(6))
            .label_font(text(12.0, &SOFT))
            .background_style(WHITE.mix(0.85))
            .border_style(LINE)
            .position(corner)
            .draw()?;
        Ok(())
    }
}

/// The points that can be told apart on axes of these lengths, and the last one.
fn thinned(points: &[(f64, f64)], spans: [f64; 2]) -> Vec<(f64, f64)> {
    let mut kept = points.to_vec();
    kept.dedup_by(|next, last| {
        (next.0 - last.0).abs() < RESOLUTION * spans[0]
            && (next.1 - last.1).abs() < RESOLUTION * spans[1]
    });
    kept.extend(points.last());
    kept
}

const SIZE: u32 = 900;
/// Left of the squares and above them.
const BORDER: u32 = 70;
/// Beyond so many classes the squares are too small for a number.
const MAX_NUMBERED: usize = 26;
const RIGHT: RGBColor = RGBColor(0x11, 0x77, 0x33);
const WRONG: RGBColor = RGBColor(0x88, 0x22, 0x55);

/// Draws `counts`, a row for each label and a column for each prediction, both called `names`.
pub fn confusion_matrix(counts: &[Vec<usize>], names: &[&str]) -> Result<Picture> {
    Picture::draw(SIZE, SIZE, |surface| draw(surface, counts, names))
}

fn draw(surface: &Surface<'_>, counts: &[Vec<usize>], names: &[&str]) -> Result<()> {
    // In pixels of the finished picture.
    let side = f64::from(SIZE - BORDER - 10) / counts.len().max(1) as f64;
    let at = |squares: f64| ((f64::from(BORDER) + side * squares) * f64::from(px(1))) as i32;
    let edge = |index: usize| at(index as f64);
    let middle = |index: usize| at(index as f64 + 0.5);
    let longest = names.iter().map(|name| name.chars().count()).max();
    let size = (side * 0.7 / longest.unwrap_or(1).max(1) as f64 * 1.4).min(side * 0.7);
    let text = |size: f64, colour: &RGBColor| centered(size.min(20.0), colour);
    let middle_of_all = (px(BORDER) + px(SIZE - 10)) as i32 / 2;
    let title = text(18.0, &SOFT);
    let place = (middle_of_all, px(14) as i32);
    surface.draw(&Text::new("predicted", place, title.clone()))?;
    let turned = title.transform(FontTransform::Rotate270);
    let place = (px(14) as i32, middle_of_all);
    surface.draw(&Text::new("label", place, turned))?;

    for (row, line) in counts.iter().enumerate() {
        let samples = line.iter().sum::<usize>().max(1) as f64;
        for (column, &count) in line.iter().enumerate() {
            let part = count as f64 / samples;
            let colour = if row == column { RIGHT } else { WRONG };
            // A single mistake among many samples is still to be seen.
            let strength = if count == 0 { 0.0 } else { 0.12 + 0.88 * part };
            let corners = [(edge(column), edge(row)), (edge(column + 1), edge(row + 1))];
            let square = Rectangle::new(corners, colour.mix(strength).filled());
            surface.draw(&square)?;
            let border = LINE.stroke_width(px(1) / 2);
            surface.draw(&Rectangle::new(corners, border))?;
            if count > 0 && counts.len() <= MAX_NUMBERED {
                let number = count.to_string();
                let size = side / number.len().max(2) as f64;
                let colour = if strength > 0.5 { WHITE } else { BLACK };
                let place = (middle(column), middle(row));
                surface.draw(&Text::new(number, place, text(size, &colour)))?;
            }
        }
    }
    let beside = px(BORDER - 22) as i32;
    for (index, &name) in names.iter().enumerate() {
        surface.draw(&Text::new(name, (middle(index), beside), text(size, &SOFT)))?;
        surface.draw(&Text::new(name, (beside, middle(index)), text(size, &SOFT)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_both_ends() {
        let points: Vec<(f64, f64)> = (0..=10_000).map(|i| (f64::from(i) / 1e4, 1.0)).collect();
        let kept = thinned(&points, [1.0; 2]);
        assert!(kept.len() < 1200, "{}", kept.len());
        assert_eq!((kept[0], kept[kept.len() - 1]), ((0.0, 1.0), (1.0, 1.0)));
    }

    #[test]
    fn no_one_and_several_lines_can_be_drawn() {
        for values in [vec![], vec![0.5], vec![0.9, 1e29, 0.2]] {
            for is_roc in [false, true] {
                let chart = |title: &str| Chart {
                    title: title.to_owned(),
                    axes: ["epoch", "loss"].map(str::to_owned),
                    series: vec![Series {
                        name: "train".to_owned(),
                        points: values.iter().map(|&value| (1.0, value)).collect(),
                    }],
                    is_roc,
                };
                charts(&[chart("loss"), chart("accuracy")], (480, 360)).unwrap();
            }
        }
    }

    #[test]
    fn matrices_of_few_and_of_many_classes_can_be_drawn() {
        for classes in [1, 10, 256] {
            let counts = vec![vec![3; classes]; classes];
            let names: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            confusion_matrix(&counts, &names).unwrap();
        }
    }
}
