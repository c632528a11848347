#include "ranks/launch.h"

#include <doctest/doctest.h>

#include <map>

#include "core/error.h"

using namespace zeroth;

namespace {

using Exported = std::map<std::string, std::string>;

Launch launch_of(const Exported& variables) {
  return find_launch([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

}  // namespace

TEST_CASE("every launcher's variables say which rank this is and where rank 0 listens") {
  struct Case {
    Exported variables;
    const char* launcher;
    int rank, size, local;
    const char* host;
    int port;
  };
  const Case cases[] = {
      {{}, "", 0, 1, 0, "", 0},
      {{{"RANK", "3"},
        {"WORLD_SIZE", "8"},
        {"LOCAL_WORLD_SIZE", "4"},
        {"MASTER_ADDR", "10.0.0.7"},
        {"MASTER_PORT", "29400"},
        {"TORCHELASTIC_RUN_ID", "none"}},
       "torchrun",
       3,
       8,
       4,
       "10.0.0.7",
       29400},
      {{{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"LOCAL_WORLD_SIZE", "2"}},
       "torchrun",
       1,
       2,
       2,
       "127.0.0.1",
       29500},
      {{{"RANK", "0"}, {"WORLD_SIZE", "1"}}, "torchrun", 0, 1, 0, "", 0},
      {{{"OMPI_COMM_WORLD_RANK", "1"},
        {"OMPI_COMM_WORLD_SIZE", "4"},
        {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}},
       "Open MPI",
       1,
       4,
       4,
       "127.0.0.1",
       29500},
      {{{"OMPI_COMM_WORLD_RANK", "5"},
        {"OMPI_COMM_WORLD_SIZE", "8"},
        {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"},
        {"MASTER_ADDR", "head"},
        {"MASTER_PORT", "1"}},
       "Open MPI",
       5,
       8,
       4,
       "head",
       1},
      {{{"SLURM_JOB_ID", "71234"},
        {"SLURM_STEP_ID", "0"},
        {"SLURM_PROCID", "5"},
        {"SLURM_STEP_NUM_TASKS", "6"},
        {"SLURM_STEP_TASKS_PER_NODE", "2(x3)"},
        {"SLURM_STEP_NODELIST", "gpu[007-009]"}},
       "Slurm",
       5,
       6,
       2,
       "gpu007",
       29734},
      {{{"SLURM_JOB_ID", "9"},
        {"SLURM_STEP_ID", "0"},
        {"SLURM_PROCID", "1"},
        {"SLURM_NTASKS", "2"},
        {"SLURM_STEP_TASKS_PER_NODE", "2"}},
       "Slurm",
       1,
       2,
       2,
       "127.0.0.1",
       29509},
      // A batch script is no step: it starts one process.
      {{{"SLURM_JOB_ID", "9"}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}}, "", 0, 1, 0, "", 0},
      // mpirun inside a step of srun, torchrun inside either: the nearest one counts.
      {{{"SLURM_JOB_ID", "9"},
        {"SLURM_STEP_ID", "0"},
        {"SLURM_PROCID", "0"},
        {"SLURM_STEP_NUM_TASKS", "1"},
        {"OMPI_COMM_WORLD_RANK", "1"},
        {"OMPI_COMM_WORLD_SIZE", "2"},
        {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}},
       "Open MPI",
       1,
       2,
       2,
       "127.0.0.1",
       29500},
      {{{"JOB_COMPLETION_INDEX", "2"}, {"WORLD_SIZE", "3"}, {"MASTER_ADDR", "train-0.train"}},
       "Kubernetes",
       2,
       3,
       1,
       "train-0.train",
       29500},
      // An indexed Job of runs by themselves.
      {{{"JOB_COMPLETION_INDEX", "2"}}, "", 0, 1, 0, "", 0},
  };
  for (const Case& c : cases) {
    const Launch launch = launch_of(c.variables);
    CHECK(launch.launcher == c.launcher);
    CHECK(launch.rank == c.rank);
    CHECK(launch.size == c.size);
    CHECK(launch.local_size == c.local);
    CHECK(launch.host == c.host);
    CHECK(launch.port == c.port);
  }
}

TEST_CASE("variables that make no sense are named with their value") {
  struct Case {
    Exported variables;
    const char* named;
  };
  const Case cases[] = {
      {{{"RANK", "2"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}}, "RANK=2"},
      {{{"RANK", "-1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}}, "RANK=-1"},
      {{{"RANK", "one"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}}, "RANK=one"},
      {{{"RANK", "0x"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}}, "RANK=0x"},
      {{{"RANK", "0"}, {"WORLD_SIZE", "0"}, {"MASTER_ADDR", "a"}}, "WORLD_SIZE=0"},
      {{{"RANK", "0"}, {"WORLD_SIZE", "99999999999"}, {"MASTER_ADDR", "a"}},
       "WORLD_SIZE=99999999999"},
      {{{"RANK", "0"}}, "WORLD_SIZE"},
      {{{"RANK", "0"}, {"WORLD_SIZE", "2"}}, "MASTER_ADDR"},
      {{{"JOB_COMPLETION_INDEX", "0"}, {"WORLD_SIZE", "2"}}, "MASTER_ADDR"},
      {{{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "70000"}},
       "MASTER_PORT=70000"},
  };
  for (const Case& c : cases) {
    std::string message;
    try {
      launch_of(c.variables);
    } catch (const Error& error) {
      message = error.what();
    }
    CAPTURE(message);
    CHECK(message.find(c.named) != std::string::npos);
  }
}

TEST_CASE("the first node of a Slurm list") {
  CHECK(first_node("gpu[003-005,9],login") == "gpu003");
  CHECK(first_node("gpu[3]-ib,b") == "gpu3-ib");
  CHECK(first_node("one") == "one");
  CHECK(first_node("one,two[1-2]") == "one");
  CHECK(first_node("r[7,9]c[1-2]").substr(0, 2) == "r7");
  CHECK(first_node("broken[1-") == "");
  CHECK(first_node("") == "");
}
