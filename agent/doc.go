// Package agent is what an internet company runs beside its accounts: it takes the hub's tasks, finds what is bound to a number,
// decides by the table of DOMAIN.md §6, acts and answers. `huanxin agent` runs it as a program; whoever embeds it calls Open and Run.
//
// Its promises, whenever it is killed:
//
//   - A task is on stable storage here before the hub is told that it was received.
//   - What it is about to do to a binding is written down before it is done. Each act is one transaction of the company's database,
//     in which the binding is read and decided about once more: what was bound in the present tenure is never unbound (rule 1).
//   - A binding is unbound once for a task, and the task is answered with one final answer. An answer may be sent more than once.
//   - A number is sealed at rest, and erased when its task is final and nothing can be restored any more.
//
// One goroutine works the tasks of an agent and one waits for the feed; an agent that has nothing to do keeps no database file open, so
// that many can be in one process.
package agent
