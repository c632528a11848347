/* A Zeroth task as a shared library: the whole interface, in plain C.
 *
 *   zeroth eval --task so:path=./libreverse.so ...       {"name": "so", "options": {"path": ..}}
 *
 * The library exports one function, zeroth_plugin_v1. It is loaded in worker processes of its own,
 * one thread each, so it needs no locks, and a crash costs one worker. Do not throw across this
 * border. Texts are UTF-8 and need no terminating zero; texts that the plug-in returns must stay
 * valid until the next call with the same state. What it prints to stdout goes to the log. */
#ifndef ZEROTH_TASKS_PLUGIN_ABI_H
#define ZEROTH_TASKS_PLUGIN_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ZEROTH_PLUGIN_ABI 1

typedef struct {
  const char* data; /* may be NULL when size is 0: absent */
  size_t size;
} zeroth_text;

enum { ZEROTH_TRAIN = 0, ZEROTH_HELD_OUT = 1 };
enum { ZEROTH_FINISH_STOP = 0, ZEROTH_FINISH_LENGTH = 1, ZEROTH_FINISH_ABORTED = 2 };

/* All zero when handed to problem(). */
typedef struct {
  zeroth_text id;     /* absent: made from split and index */
  zeroth_text prompt; /* what the policy is asked */
  zeroth_text answer; /* reference answer; the policy never sees it */
  zeroth_text meta;   /* a JSON object of the plug-in's own, or absent */
} zeroth_problem;

/* All zero when handed to grade(). */
typedef struct {
  double score;          /* usually 0..1; finite */
  zeroth_text error;     /* present: no score; the sample is masked and counted, not a zero */
  zeroth_text extracted; /* the answer that was graded, or absent */
  zeroth_text parts;     /* a JSON object of further scores by name, or absent */
  zeroth_text info;      /* a JSON object of facts; numbers become metrics; or absent.
                            {"applies": false}: the reward says nothing about this sample */
} zeroth_result;

/* A turn that is over: what the policy wrote, what step() answered, what it paid. */
typedef struct {
  zeroth_text reply;
  zeroth_text observation;
  double reward;
} zeroth_turn;

/* All zero when handed to step(). */
typedef struct {
  zeroth_text observation; /* what the policy reads next */
  int done;                /* not 0: the episode is over, the observation is not shown */
  double reward;           /* for this turn; finite */
  zeroth_text error;       /* present: the environment failed; the sample is masked and counted */
  zeroth_text info;        /* a JSON object of facts, or absent */
} zeroth_step;

typedef struct {
  uint32_t abi;     /* ZEROTH_PLUGIN_ABI */
  uint32_t size;    /* sizeof(zeroth_plugin) */
  const char* name; /* of the task, in reports */
  /* Called once per worker; `options` is the JSON object of the config. Returns the state that the
   * other functions get; NULL: the worker could not start. May itself be NULL: the state is NULL.
   */
  void* (*open)(zeroth_text options);
  void (*close)(void* state); /* may be NULL */
  /* Number of problems of a split. May be NULL when the plug-in only grades. */
  int64_t (*count)(void* state, int split);
  /* The same problem whenever it is asked for, in every worker. Returns 0, else it failed. */
  int (*problem)(void* state, int split, int64_t index, zeroth_problem* out);
  /* `completion` is all that the policy wrote; `answer` its one answer block, absent when there is
   * not exactly one. Returns 0, else it failed (as with out->error). */
  int (*grade)(void* state, const zeroth_problem* problem, zeroth_text completion,
               zeroth_text answer, int finish, zeroth_result* out);
  /* Since zeroth 0.2; a plug-in built before has a smaller `size`. For rewards that compare the
   * samples of a problem: grades all `count` of them at once, out[i] for completion i. The texts of
   * all results must stay valid until the next call. NULL: grade() is called for each. */
  int (*grade_group)(void* state, const zeroth_problem* problem, size_t count,
                     const zeroth_text* completions, const zeroth_text* answers,
                     const int* finishes, zeroth_result* out);
  /* For tasks of several turns: the policy has replied, behind `count` earlier turns. The problem's
   * prompt is what an episode begins with; count 0 starts a new one. Everything that the answer
   * depends on is in the arguments: another worker may be asked for the next turn, and a turn may
   * be asked for again. Returns 0, else it failed. NULL: a completion is one turn. */
  int (*step)(void* state, const zeroth_problem* problem, size_t count, const zeroth_turn* turns,
              zeroth_text reply, int finish, zeroth_step* out);
  int max_turns; /* of an episode, 1 to 255; 0: 8 */
} zeroth_plugin;

const zeroth_plugin* zeroth_plugin_v1(void);

#ifdef __cplusplus
}
#endif
#endif
