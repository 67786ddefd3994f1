/* Lines of cells as a table: on a terminal as wide as that, elsewhere nothing is cut or left out. */
#include "ppctl.h"

#define INDENT 6 /* of what stands below a row */

struct layout {
	const struct ppctl_grid *grid;
	size_t width[PPCTL_CELLS]; /* 0: not shown */
	size_t columns;
	bool terminal;
};

static int last_of(const struct ppctl_grid *grid)
{
	return grid->count - 1;
}

static size_t width_of(const struct layout *layout)
{
	size_t total = 0;
	for (int c = 0; c < last_of(layout->grid); c++)
		total += layout->width[c] ? layout->width[c] + 2 : 0;
	return total;
}

/* Every column as wide as it needs; on a terminal the last takes the rest of the line. */
static void lay_out(struct layout *layout, const struct ppctl_line *lines, size_t count,
		    size_t columns)
{
	const struct ppctl_grid *grid = layout->grid;
	int last = last_of(grid);

	for (int c = 0; c < grid->count; c++) {
		layout->width[c] = strlen(grid->columns[c].title);
		for (size_t i = 0; i < count; i++) {
			size_t width = ppctl_width(lines[i].cell[c] ? lines[i].cell[c] : "");
			layout->width[c] = width > layout->width[c] ? width : layout->width[c];
		}
		size_t widest = grid->columns[c].widest;
		if (columns && widest && layout->width[c] > widest)
			layout->width[c] = widest;
		if (grid->columns[c].hidden && columns)
			layout->width[c] = 0;
	}
	layout->terminal = columns > 0;
	layout->columns = columns > INDENT + 20 ? columns : INDENT + 20;
	for (int rank = 1; columns && rank <= grid->count; rank++)
		for (int c = 0; c < last; c++)
			if (grid->columns[c].dispensable == rank &&
			    width_of(layout) + grid->least > columns)
				layout->width[c] = 0;
	if (columns)
		layout->width[last] =
			columns > width_of(layout) + 8 ? columns - width_of(layout) - 1 : 8;
}

/* A message that calls for a person is shown whole: below its row where it does not fit. */
static int add_message(struct intent_text *out, const struct layout *layout,
		       const struct ppctl_line *line)
{
	int last = last_of(layout->grid), height = 1;
	const char *text = line->cell[last] ? line->cell[last] : "";
	size_t width = layout->width[last];
	enum ppctl_style style = line->settled ? PPCTL_DIM : line->style[last];

	if (!layout->terminal || line->settled || ppctl_width(text) <= width) {
		ppctl_add(out, text, style, layout->terminal ? width : 0, 0);
	} else {
		intent_text_puts(out, "\n");
		height += ppctl_add_wrapped(out, text, style, INDENT, layout->columns);
	}
	for (const char *p = line->below ? line->below : ""; *p;) {
		size_t length = strcspn(p, "\n");
		intent_free_auto char *part = strndup(p, length);
		intent_text_puts(out, "\n");
		height += ppctl_add_wrapped(out, part, PPCTL_PLAIN, INDENT,
					    layout->terminal ? layout->columns : 0);
		p += length + (p[length] == '\n');
	}
	return height;
}

static int add_line(struct intent_text *out, const struct layout *layout,
		    const struct ppctl_line *line)
{
	for (int c = 0; c < last_of(layout->grid); c++) {
		const char *cell = line->cell[c];
		/* Programs count columns. */
		if ((!cell || !*cell) && !layout->terminal)
			cell = "-";
		if (!layout->width[c])
			continue;
		ppctl_add(out, cell ? cell : "", line->style[c],
			  layout->terminal ? layout->width[c] : 0, layout->width[c]);
		intent_text_puts(out, "  ");
	}
	int height = add_message(out, layout, line);
	while (out->length && out->data[out->length - 1] == ' ')
		out->data[--out->length] = 0;
	intent_text_puts(out, "\n");
	return height;
}

int ppctl_grid(struct intent_text *out, const struct ppctl_grid *grid, struct ppctl_line *lines,
	       size_t count, size_t columns)
{
	struct layout layout = {.grid = grid};
	int height = 1;

	lay_out(&layout, lines, count, columns);
	for (int c = 0; c < grid->count; c++)
		if (layout.width[c])
			ppctl_add(out, grid->columns[c].title, PPCTL_DIM, 0,
				  c < last_of(grid) ? layout.width[c] + 2 : 0);
	intent_text_puts(out, "\n");
	for (size_t i = 0; i < count; i++) {
		height += add_line(out, &layout, &lines[i]);
		for (int c = 0; c < grid->count; c++)
			free(lines[i].cell[c]);
		free(lines[i].below);
	}
	return height;
}
