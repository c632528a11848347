// Which of how many processes this one is, from what started it: torchrun, mpirun, srun or an
// indexed Kubernetes Job.
//
//   launcher     rank                   number of ranks        on this machine
//   torchrun     RANK                   WORLD_SIZE             LOCAL_WORLD_SIZE
//   Open MPI     OMPI_COMM_WORLD_RANK   OMPI_COMM_WORLD_SIZE   OMPI_COMM_WORLD_LOCAL_SIZE
//   Slurm        SLURM_PROCID           SLURM_STEP_NUM_TASKS   SLURM_STEP_TASKS_PER_NODE
//   Kubernetes   JOB_COMPLETION_INDEX   WORLD_SIZE             1
//
// The first line that has both numbers counts. Outside a step of srun (SLURM_STEP_ID) Slurm's
// variables say nothing: a batch script has SLURM_PROCID=0 too.
//
// MASTER_ADDR and MASTER_PORT say where rank 0 listens. Without the address: 127.0.0.1 when all are
// on one machine, the first node of a Slurm step, else an error. Without the port: 29500, under
// Slurm plus the last three digits of the job's number.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace zeroth {

struct Launch {
  std::string launcher;  // as in the table; empty: this process is alone
  int rank = 0, size = 1;
  int local_size = 0;  // ranks on this machine; 0: unknown
  std::string host;    // where rank 0 listens, and
  uint16_t port = 0;
  std::string job;  // what tells jobs at one address apart; may be empty
};

// Ranks of one job, at most.
inline constexpr int kMostRanks = 1024;

// A variable's value, or null.
using Variables = std::function<const char*(const char* name)>;

// Throws Error(kUsage) naming the variable and its value when one is no number, out of range or
// missing beside the others.
Launch find_launch(const Variables& environment);
Launch find_launch();  // of this process

// The first host of a Slurm node list such as "gpu[003-005,9],login"; empty when it cannot be read.
std::string first_node(const std::string& nodes);

// Ranks that share a machine share its cores: deals them evenly unless ZEROTH_THREADS is set or the
// launcher has bound this process to some of them.
void share_cores(const Launch& launch);

}  // namespace zeroth
